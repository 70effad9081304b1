//! What happens to a node of two halves as the years pass: machines and halves start anew, versions meet, things break.

#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/machine.rs"]
mod machine;

use tiding_node as node;

use content::care::Hook;
use content::encoding::Encode;
use content::{AppName, Order, PayloadKind, Release, Signed};
use engine::door::{Job, JobDone, JobError, Moment};
use fleet::{ANY_PORT, Fleet, in_time, listing, options};
use machine::{Machine, Owned, app, changed, framed, hear, id, me, places};
use node::daemon::{self, Broken, StartError};
use node::halves::words::{Asked, Told};
use node::halves::{self, HandsError, HandsOptions};
use node::join;
use std::fs;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

fn hook(line: String) -> Hook {
    Hook { line, user: None, timeout_ms: 20_000 }
}

/// The newest release, changed, for another application, which has no release before it.
fn of_web(machine: &Machine, owned: &Owned, change: impl FnOnce(&mut Release)) -> Signed {
    changed(&owned.live(), &machine.operator(), |release| {
        release.app = web();
        release.instructions.path = b"/srv/web".to_vec();
        change(release);
    })
}

fn web() -> AppName {
    AppName::new("web").expect("a plain name")
}

/// Has it laid out and ordered: what is left is the switch.
async fn order(machine: &Machine, owned: &mut Owned, release: &Signed) {
    let order = Order { app: web(), epoch: 1, release: id(release), fallback: None, ..owned.order() };
    let order = machine.operator().sign(PayloadKind::Order, order.encode());
    owned.ask(Job::Assemble { release: release.clone() }).await.expect("it is signed");
    owned.ask(Job::Accept { order }).await.expect("it is signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn d22_a_root_half_starts_again_what_is_confirmed_once_in_each_start_of_the_machine() {
    let mut machine = Machine::new().await;
    machine.deploy("one").await;
    let mut owned = machine.owned().await;
    let seen = machine.fleet.path("seen");
    let line = format!("echo $TIDING_APP $TIDING_MOMENT >> {}", seen.display());
    let release = of_web(&machine, &owned, |release| release.instructions.hooks.boot = Some(hook(line)));
    order(&machine, &mut owned, &release).await;
    owned.ask(Job::Switch { app: web(), release: id(&release) }).await.expect("it is ordered");
    owned.ask(Job::Confirm { app: web(), release: id(&release) }).await.expect("it has nothing to show");
    drop(owned);
    let Machine { fleet, mut hands, .. } = machine;
    for (boot, expected) in [(None, ""), (Some("another\n"), "web boot\n"), (None, "web boot\n")] {
        hands.stop().await;
        if let Some(boot) = boot {
            fs::write(fleet.path("hands/boot"), boot).expect("written");
        }
        hands = halves::start(places(&fleet, me())).await.expect("started");
        // Nobody is served before.
        drop(in_time("a welcome", Owned::connect(&fleet.path("socket"))).await.expect("its user may connect"));
        assert_eq!(fs::read_to_string(&seen).unwrap_or_default(), expected);
    }
    hands.stop().await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_given_back_under_its_own_order_alone_and_the_command_for_that_runs_once() {
    let mut machine = Machine::new().await;
    machine.deploy("one").await;
    let mut owned = machine.owned().await;
    let (at, seen) = (machine.targets().join("srv/web"), machine.fleet.path("seen"));
    fs::create_dir(&at).expect("made");
    fs::write(at.join("ours"), "was here before").expect("written");
    let before = listing(&at);
    let line = format!("echo $TIDING_MOMENT >> {}", seen.display());
    let release = of_web(&machine, &owned, |release| {
        release.instructions.adopts = true;
        release.instructions.hooks.back = Some(hook(line));
    });
    order(&machine, &mut owned, &release).await;
    let back = || Job::Hook { release: release.clone(), moment: Moment::Back, other: None };
    let switch = || Job::Switch { app: web(), release: id(&release) };
    owned.ask(switch()).await.expect("it is ordered");
    Owned::refused(&owned.ask(back()).await, "not the moment");
    let elsewhere = Job::Restore { app: app(), release: owned.order().release };
    assert!(owned.ask(elsewhere).await.is_err(), "it took nobody's place");
    let restore = || Job::Restore { app: web(), release: id(&release) };
    assert_eq!(owned.ask(restore()).await, Ok(JobDone::Restored));
    assert_eq!(listing(&at), before);
    assert_eq!(owned.ask(back()).await, Ok(JobDone::Ran));
    Owned::refused(&owned.ask(back()).await, "not the moment");
    assert_eq!(fs::read_to_string(&seen).expect("it ran"), "back\n");
    Owned::refused(&owned.ask(switch()).await, "no order");
    drop(owned);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_live_is_repaired_from_what_the_network_half_has() {
    let mut machine = Machine::new().await;
    let source = machine.deploy("one").await;
    let mut owned = machine.owned().await;
    let live = machine.targets().join("srv/app/");
    fs::write(live.join("bin/deep/large"), "somebody wrote here").expect("written");
    let verified = owned.ask(Job::Verify { app: app() }).await;
    assert!(matches!(verified, Ok(JobDone::Verified { differing: 1, .. })), "{verified:?}");
    let repaired = owned.ask(Job::Repair { app: app() }).await;
    assert!(matches!(repaired, Ok(JobDone::Verified { differing: 0, .. })), "{repaired:?}");
    assert_eq!(listing(&live), listing(&source));
    drop(owned);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h15_where_the_machine_names_a_user_for_commands_the_root_half_keeps_to_it() {
    let mut machine = Machine::new().await;
    machine.deploy("one").await;
    let owned = machine.owned().await;
    drop(owned);
    machine.hands.stop().await;
    let own = HandsOptions { hooks_user: Some("nobody".to_owned()), ..places(&machine.fleet, me()) };
    machine.hands = halves::start(own).await.expect("started");
    let mut owned = Owned::connect(&machine.fleet.path("socket")).await.expect("its user may connect");
    let release = of_web(&machine, &owned, |release| {
        release.instructions.hooks.before = Some(Hook { user: Some("root".to_owned()), ..hook("true".to_owned()) });
    });
    order(&machine, &mut owned, &release).await;
    let outcome = owned.ask(Job::Hook { release, moment: Moment::Before, other: None }).await;
    assert!(matches!(&outcome, Err(JobError::Refused { why }) if why.contains("nobody")), "{outcome:?}");
    drop(owned);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_of_versions_that_do_not_understand_each_other_say_so_to_each_other() {
    let mut machine = Machine::new().await;
    machine.deploy("one").await;
    drop(machine.owned().await);
    // A network half of tomorrow.
    let mut stream = UnixStream::connect(machine.fleet.path("socket")).await.expect("it listens");
    let mut greeting = Asked::Greeting { software: "99.0".to_owned() }.encode();
    greeting[1] += 1;
    stream.write_all(&framed(&greeting)).await.expect("written");
    match in_time("an answer", hear(&mut stream)).await.expect("it says why") {
        Told::Unwelcome { why } => assert!(why.contains("speaks version 2") && why.contains("restart both"), "{why}"),
        other => panic!("{other:?}"),
    }
    // And a root half of tomorrow.
    let socket = machine.fleet.path("tomorrow");
    let listener = UnixListener::bind(&socket).expect("bound");
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody connects");
        let mut welcome = Told::Welcome { software: "99.0".to_owned(), records: Vec::new() }.encode();
        welcome[1] += 1;
        stream.write_all(&framed(&welcome)).await.expect("written");
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    let of_agent = options(machine.fleet.temp.path(), "web-0", ANY_PORT.into());
    let refused = in_time("starting", daemon::start_with_hands(of_agent, &socket)).await.err();
    assert!(matches!(&refused, Some(StartError::Alone(why)) if why.contains("restart both")), "{refused:?}");
    answering.await.expect("it was left");
    machine.given_back().await;
    machine.deploy("two").await;
    machine.stop().await;
}

/// A root half that says what it likes.
async fn fake(fleet: &Fleet) -> (daemon::Running, UnixStream) {
    let line = fleet.origin.issue_join_line(join::JoinTerms::default()).await.expect("a line");
    join::join(&line, &fleet.path("web-0"), Some("web-0")).await.expect("joined");
    let socket = fleet.path("fake");
    let listener = UnixListener::bind(&socket).expect("bound");
    let answering = async {
        let (mut stream, _) = listener.accept().await.expect("somebody connects");
        let welcome = Told::Welcome { software: "1".to_owned(), records: Vec::new() }.encode();
        stream.write_all(&framed(&welcome)).await.expect("written");
        stream
    };
    let of_agent = options(fleet.temp.path(), "web-0", ANY_PORT.into());
    let (running, stream) = tokio::join!(daemon::start_with_hands(of_agent, &socket), answering);
    (running.expect("started"), stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn d17_a_root_half_that_hangs_keeps_no_network_half_from_stopping() {
    let fleet = Fleet::new(0).await;
    let (running, stream) = fake(&fleet).await;
    let source = fleet.path("source");
    fleet::tree(&source, "one");
    fleet.deploy(&source).await.expect("deployed");
    // It has everything, asks for it to be laid out, and hears nothing.
    let (mut asked, mut hears) = (Vec::new(), stream);
    let assemble = async {
        while !asked.windows(4).any(|window| window == b"/srv") {
            let mut buffer = [0; 4096];
            let read = hears.read(&mut buffer).await.expect("it asks");
            assert!(read > 0, "it goes on");
            asked.extend_from_slice(&buffer[..read]);
        }
    };
    in_time("asking", assemble).await;
    in_time("stopping", running.stop()).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d17_a_root_half_that_goes_or_says_what_makes_no_sense_is_left_and_that_is_said() {
    for last_words in [&[][..], &[0xff; 8], &[3, 0, 0, 0, 9, 9, 9]] {
        let fleet = Fleet::new(0).await;
        let (mut running, mut stream) = fake(&fleet).await;
        stream.write_all(last_words).await.expect("written");
        stream.shutdown().await.expect("shut");
        let why = in_time("noticing", running.failed()).await;
        assert!(matches!(&why, Broken::Off(why) if why.contains("root half")), "{why:?}");
        assert!(running.has_lost_its_root_half());
        in_time("stopping", running.stop()).await;
        fleet.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_of_one_machine_take_no_socket_from_each_other() {
    let machine = Machine::new().await;
    let other = HandsOptions { home: machine.fleet.path("other-hands"), ..places(&machine.fleet, me()) };
    match halves::start(other).await.err() {
        Some(HandsError::Socket { source, .. }) => assert_eq!(source.kind(), ErrorKind::AddrInUse),
        other => panic!("{other:?}"),
    }
    machine.deploy("one").await;
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_one_process_becomes_two_and_goes_on_with_what_is_live() {
    let mut fleet = Fleet::new(1).await;
    let source = fleet.path("source-one");
    fleet::tree(&source, "one");
    let release = fleet.deploy(&source).await.expect("deployed").release.to_string();
    fleet.until_confirmed(&release).await;
    in_time("stopping", fleet.agents.remove(0).stop()).await;
    let at = fs::read_link(fleet.live(0)).expect("a link");
    let hands = halves::start(places(&fleet, me())).await.expect("started");
    let of_agent = options(fleet.temp.path(), "web-0", ANY_PORT.into());
    let half = daemon::start_with_hands(of_agent, &fleet.path("socket")).await.expect("started");
    let machine = Machine { fleet, hands, half: Some(half) };
    // The origin says again what was ordered, and it is live already.
    machine.confirmed(&release).await;
    assert_eq!(fs::read_link(machine.targets().join("srv/app")).expect("a link"), at);
    machine.deploy("two").await;
    machine.stop().await;
}
