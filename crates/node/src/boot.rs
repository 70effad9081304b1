//! What a machine that was started anew starts again: of each application the release that was confirmed here last, by the command that it
//! has for this, with no word from anyone.
//!
//! Only what is live *and* confirmed is started: a switch that was under way goes on where it was, with its own commands. It happens before
//! the engine begins, so that no order comes between; the start is remembered when all commands have ended, so one that was cut
//! short is made again. A command that fails is said, and holds nothing up.

use crate::home;
use crate::runner::Runner;
use content::{ReleaseId, Signed};
use engine::door::{AppRecord, Recovered};
use std::fs;
use std::path::Path;

/// Where the kernel says which start of the machine this is (random(4)).
const THIS_BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Runs what is to run if the machine was started anew since the last time; the first time there is nothing to start again.
pub(crate) async fn start_again(home: &Path, recovered: &Recovered, runner: &Runner) {
    let this = match fs::read_to_string(THIS_BOOT) {
        Ok(this) => this.trim().to_owned(),
        Err(error) => {
            return tracing::warn!(%error, "whether this machine was started anew cannot be told: {THIS_BOOT}");
        }
    };
    let remembered = home.join(home::BOOT);
    match fs::read_to_string(&remembered) {
        Ok(last) if last.trim() == this => return,
        Ok(_) => run_all(recovered, runner).await,
        Err(_) => {}
    }
    if let Err(error) = home::replace(&remembered, format!("{this}\n").as_bytes()) {
        tracing::warn!(%error, "this start of the machine cannot be remembered; the next start of the agent counts as another");
    }
}

async fn run_all(recovered: &Recovered, runner: &Runner) {
    for (app, release) in recovered.apps.iter().filter_map(|app| Some((app, settled(app)?))) {
        match runner.boot(release).await {
            Ok(true) => tracing::info!(app = %app.app, "started again, since this machine was started anew"),
            Ok(false) => {}
            Err(why) => {
                tracing::warn!(app = %app.app, why, "not started again, although this machine was started anew")
            }
        }
    }
}

/// The release that is live and confirmed, and nothing is under way.
fn settled(app: &AppRecord) -> Option<&Signed> {
    let live = app.live.filter(|live| app.confirmed == Some(*live) && app.intent.is_none())?;
    app.laid_out.iter().find(|signed| ReleaseId(signed.payload_digest()) == live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::care::{Hook, Hooks};
    use content::release::Instructions;
    use content::{AppName, BlobRef, ContentSpec, Digest, FleetId, Labels, PayloadKind, Release, SigningKey, UnixTime};

    fn signed(app: &str, line: &str) -> Signed {
        let blob = BlobRef { root: Digest::of(b"root"), len: 1000 };
        let boot = Some(Hook { line: line.to_owned(), user: None, timeout_ms: 20_000 });
        let release = Release {
            fleet: FleetId(Digest::of(b"fleet")),
            app: AppName::new(app).expect("a plain name"),
            version: "1".to_owned(),
            created: UnixTime(1),
            content: ContentSpec { blob, pieces: 2, bytes: 100_000 },
            attributes: None,
            entries: 3,
            size: 120_000,
            instructions: Instructions {
                hooks: Hooks { boot, ..Hooks::default() },
                ..Instructions::plain(b"/srv/web", 0, 2)
            },
        };
        SigningKey::from_secret(&[1; 32]).sign(PayloadKind::Release, release.encode())
    }

    fn record(app: &str, line: &str) -> AppRecord {
        let signed = signed(app, line);
        let id = Some(ReleaseId(signed.payload_digest()));
        let app = AppName::new(app).expect("a plain name");
        let (live, confirmed) = (id, id);
        AppRecord { app, order: None, laid_out: vec![signed], live, confirmed, intent: None, begun: 0, given_up: None }
    }

    #[tokio::test]
    async fn d22_what_is_confirmed_is_started_once_in_each_start_of_the_machine() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let seen = || fs::read_to_string(temp.path().join("seen")).unwrap_or_default();
        let line = |what: &str| format!("echo {what} $TIDING_MOMENT >> {}/seen", temp.path().display());
        let fails = record("a-fails", &format!("{}; exit 3", line("fails")));
        let half = AppRecord { confirmed: None, ..record("half", &line("half")) };
        let under_way = AppRecord { intent: half.live, ..record("under-way", &line("under-way")) };
        let apps = vec![fails, half, under_way, record("web", &line("web"))];
        let recovered = Recovered { apps, ..Recovered::default() };
        let runner = Runner {
            node: "a".to_owned(),
            labels: Labels::new(),
            targets: temp.path().to_owned(),
            hooks_user: None,
            warden: Default::default(),
        };

        start_again(temp.path(), &recovered, &runner).await;
        assert_eq!(seen(), "", "nobody knows of a start before");
        start_again(temp.path(), &recovered, &runner).await;
        assert_eq!(seen(), "", "the same start of the machine");
        fs::write(temp.path().join(home::BOOT), "another\n").expect("written");
        start_again(temp.path(), &recovered, &runner).await;
        assert_eq!(seen(), "fails boot\nweb boot\n");
        start_again(temp.path(), &recovered, &runner).await;
        assert_eq!(seen(), "fails boot\nweb boot\n", "once");
    }
}
