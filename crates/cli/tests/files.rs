//! Files as applications need them: what is left out of a tree, what a deploy of it would change, what
//! outlives releases, and what each node puts into its own.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::{Lab, Node};
use said::{deploy, expect, live};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn what_tidingignore_names_stays_here_and_its_mistakes_are_named() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    fs::write(source.join("debug.log"), "x").expect("a file");
    fs::write(source.join(".tidingignore"), "*.log\n[a\n").expect("a file");
    let refused = deploy(&lab, &source, &[]);
    expect(&refused, 3, ".tidingignore: line 2, \"[a\": unclosed character class");
    assert!(!live(&agent).exists(), "nothing was sent");

    fs::write(source.join(".tidingignore"), "*.log\n/sub/empty/\n").expect("a file");
    expect(&deploy(&lab, &source, &["--dry-run"]), 0, "left out   2 entries by .tidingignore");
    expect(&deploy(&lab, &source, &[]), 0, "left out   2 entries by .tidingignore");
    let there = |name: &str| live(&agent).join(name).exists();
    assert_eq!(["large", "debug.log", ".tidingignore", "sub/empty"].map(there), [true, false, false, false]);

    expect(&deploy(&lab, &source, &["--no-ignore"]), 0, "confirmed");
    assert!(agent.shows(&source), "everything, the patterns too");
    fs::write(source.join(".tidingignore"), "*\n").expect("a file");
    expect(&deploy(&lab, &source, &[]), 3, "all that is in it is left out, by .tidingignore");
}

#[test]
fn what_a_deploy_would_change_is_named_beforehand() {
    let lab = Lab::new();
    let _agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    lab::tree(&source, 3 << 20, 1);
    let diff = |more: &[&str]| lab.operator(&[&["diff", &source.to_string_lossy()], more].concat());
    expect(&diff(&[]), 3, "nothing was deployed yet");
    expect(&deploy(&lab, &source, &["--dry-run"]), 0, "changes    nothing of app was deployed before");
    expect(&deploy(&lab, &source, &["--version", "1"]), 0, "confirmed");
    expect(&diff(&["--exit-code"]), 0, "nothing differs from 1");

    // One of twenty small files that share pieces; the rest is as it was.
    fs::write(source.join("sub/small-3"), vec![7; 2100]).expect("a file");
    fs::remove_file(source.join("link")).expect("a file");
    fs::write(source.join("sub/new"), "new").expect("a file");
    fs::set_permissions(source.join("sub/small-4"), fs::Permissions::from_mode(0o600)).expect("a mode");
    let compared = diff(&["--json"]);
    expect(&compared, 0, "");
    let compared: Value = serde_json::from_slice(&compared.stdout).expect("JSON");
    let changes = compared["changes"].as_array().expect("a list");
    let told: Vec<String> =
        changes.iter().map(|one| format!("{} {} {}", one["change"], one["path"], one["what"])).collect();
    let expected = [
        r#""removed" "link" []"#,
        r#""added" "sub/new" []"#,
        r#""changed" "sub/small-3" ["content"]"#,
        r#""changed" "sub/small-4" ["mode"]"#,
    ];
    assert_eq!(told, expected);
    let (send, all) =
        (compared["would_send"].as_u64().expect("a number"), compared["bytes"].as_u64().expect("a number"));
    assert!(send > 0 && send < all / 4 && all > 3 << 20, "{send} of {all}");
    expect(&diff(&["--exit-code"]), 1, "2 changed, 1 added, 1 removed since 1; about ");
    expect(&deploy(&lab, &source, &["--dry-run"]), 0, "changes    2 changed, 1 added, 1 removed since 1; about ");
    expect(&deploy(&lab, &source, &["--version", "2"]), 0, "confirmed");
    expect(&diff(&[]), 0, "nothing differs from 2");
    expect(&diff(&["--release", "1"]), 0, "2 changed, 1 added, 1 removed since 1");
}

#[test]
fn uploads_outlive_releases_and_rollbacks() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    let keep = ["--keep-path", "uploads,mode=700", "--keep-path", "sub/log", "--keep-file", "secrets/key"];
    let deploy = |more: &[&str]| deploy(&lab, &source, &[&keep[..], more].concat());
    fs::create_dir(source.join("uploads")).expect("a directory");
    expect(&deploy(&[]), 3, "uploads: is to outlive releases, and the tree has something there");
    fs::remove_dir(source.join("uploads")).expect("a directory");
    expect(&deploy(&["--keep-path", "sub/log/deeper"]), 2, "is, or stands below, \"sub/log\"");
    expect(&deploy(&["--keep-path", "../x"]), 2, "`..` component");
    expect(&deploy(&["--version", "1"]), 0, "confirmed");

    let at = |path: &str| live(&agent).join(path);
    fs::write(at("uploads/cat.jpg"), "a cat").expect("a directory");
    fs::write(at("sub/log/today"), "started").expect("a directory");
    fs::write(at("secrets/key"), "secret").expect("the directory above it is there");
    let mode = fs::metadata(at("uploads")).expect("a directory").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    fs::write(source.join("new"), "x").expect("a file");
    expect(&lab.operator(&["diff", &source.to_string_lossy()]), 0, "0 changed, 1 added, 0 removed since 1");
    expect(&deploy(&["--version", "2"]), 0, "confirmed");
    let kept = || ["uploads/cat.jpg", "sub/log/today", "secrets/key"].map(|path| fs::read_to_string(at(path)).ok());
    let all = ["a cat", "started", "secret"].map(|text| Some(text.to_owned()));
    assert!(at("new").exists());
    assert_eq!(kept(), all);
    expect(&lab.operator(&["verify"]), 0, "as published");
    expect(&lab.operator(&["rollback"]), 0, "confirmed");
    assert!(!at("new").exists());
    assert_eq!(kept(), all);

    // Whoever can write there as root may lead us elsewhere, and is not followed.
    let beside = agent.root.join("srv/.app.tiding/kept/uploads");
    fs::rename(&beside, lab.dir().join("aside")).expect("a directory");
    let outside = lab.dir().join("outside");
    fs::create_dir(&outside).expect("a directory");
    std::os::unix::fs::symlink(&outside, &beside).expect("a link");
    let refused = deploy(&["--version", "3"]);
    expect(&refused, 5, "/srv/.app.tiding/kept/uploads is a symbolic link, which is not followed");
    assert_eq!(fs::read_dir(&outside).expect("a directory").count(), 0);
    fs::remove_file(&beside).expect("a link");
    fs::rename(lab.dir().join("aside"), &beside).expect("a directory");
    expect(&deploy(&["--version", "4"]), 0, "confirmed");
    assert_eq!(kept(), all);
}

#[test]
fn each_node_puts_its_own_values_into_a_file_or_says_what_it_lacks() {
    let lab = Lab::new();
    let agents = ["a", "b"].map(|zone| lab.labelled_agent(&format!("web-{zone}"), &[&format!("zone={zone}")]));
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    let render = |text: &str, more: &[&str]| {
        fs::write(source.join("app.conf"), text).expect("a file");
        deploy(&lab, &source, &[&["--render", "app.conf"], more].concat())
    };
    expect(&render("{{host}}\n", &[]), 3, "app.conf: line 1: {{host}} is no value");
    expect(&deploy(&lab, &source, &["--render", "sub"]), 3, "sub: is to be given values, and is no file");
    expect(&render("{{node}} in {{label.zone}} runs {{app}} {{version}}\n", &["--version", "1"]), 0, "confirmed");
    let shown = || agents.each_ref().map(|agent| fs::read_to_string(live(agent).join("app.conf")).expect("a file"));
    let expected = ["web-a in a runs app 1\n", "web-b in b runs app 1\n"];
    assert_eq!(shown(), expected);
    expect(&lab.operator(&["verify"]), 0, "as published");
    expect(&render("{{label.rack}}\n", &[]), 3, "app.conf: 2 selected agents have no label rack: web-a, web-b");
    assert_eq!(shown(), expected, "nothing was sent");
    fs::write(live(&agents[0]).join("app.conf"), "web-a in c runs app 1\n").expect("a file");
    expect(&lab.operator(&["verify"]), 5, "app.conf has other bytes than this node's values give");
}

/// Everything a command said.
fn all_of(output: &std::process::Output) -> String {
    said::text(&output.stdout) + &said::text(&output.stderr)
}

/// What was there before tiding: a program's directory, with its uploads and its secrets.
fn before_tiding(live: &std::path::Path) {
    fs::create_dir_all(live.join("uploads")).expect("a directory");
    fs::create_dir(live.join("secrets")).expect("a directory");
    for (path, text) in [("uploads/cat.jpg", "a cat"), ("secrets/key", "secret"), ("old", "a program")] {
        fs::write(live.join(path), text).expect("a file");
    }
    // As a program leaves it, and a tidy umask.
    fs::set_permissions(live, fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// Whether it is as it was, and no link of ours is in it.
fn is_as_before(live: &std::path::Path) -> bool {
    let text = |path: &str| fs::read_to_string(live.join(path)).unwrap_or_default();
    let is_plain = |path: &str| !live.join(path).is_symlink();
    ["", "uploads", "secrets/key"].into_iter().all(is_plain)
        && ["uploads/cat.jpg", "secrets/key", "old"].map(text) == ["a cat", "secret", "a program"]
}

#[test]
fn a_directory_that_stood_there_is_adopted_and_is_what_a_bad_first_release_leads_back_to() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let (source, ran) = (lab.dir().join("source"), lab.dir().join("ran"));
    lab::tree(&source, 1000, 1);
    before_tiding(&live(&agent));
    expect(&deploy(&lab, &source, &["--patience", "2s"]), 5, "deploy again with --adopt");
    assert!(is_as_before(&live(&agent)));

    let words = ["--adopt", "--keep-path", "uploads", "--keep-file", "secrets/key"];
    let back = format!("echo back >> {}", ran.display());
    let bad = deploy(
        &lab,
        &source,
        &[&words[..], &["--after", "test -e uploads/cat.jpg && exit 7", "--back", &back]].concat(),
    );
    expect(&bad, 5, "status 7");
    lab::until("it is back", || is_as_before(&live(&agent)) && ran.exists());
    let verified = all_of(&lab.operator(&["verify"]));
    assert!(verified.contains("the directory that stood there before"), "{verified}");

    let mut waits =
        lab.operator_command(&[&said::deploy_words(&source)[..], &words, &["--health-window", "1h"]].concat());
    let mut waits = waits.spawn().expect("the binary runs");
    lab::until("it is live", || live(&agent).is_symlink() && live(&agent).join("uploads/cat.jpg").exists());
    expect(&lab.operator(&["abort", "-m", "not today"]), 0, "");
    assert!(!waits.wait().expect("a child").success());
    lab::until("it is back again", || is_as_before(&live(&agent)));

    expect(&deploy(&lab, &source, &[&words[..], &["--version", "1"]].concat()), 0, "confirmed");
    expect(&lab.operator(&["verify"]), 0, "as published");
    let at = |path: &str| fs::read_to_string(live(&agent).join(path)).unwrap_or_default();
    assert_eq!((at("uploads/cat.jpg"), at("secrets/key"), at("old")), ("a cat".into(), "secret".into(), String::new()));
    fs::write(live(&agent).join("uploads/dog.jpg"), "a dog").expect("a file");
    // The next ones are releases like any other, and what was adopted is none that is collected.
    for version in ["2", "3", "4"] {
        fs::write(source.join("version"), version).expect("a file");
        let next = ["--version", version, "--keep", "0", "--keep-path", "uploads", "--keep-file", "secrets/key"];
        expect(&deploy(&lab, &source, &next), 0, "confirmed");
    }
    expect(&lab.operator(&["rollback"]), 0, "3 is confirmed");
    assert_eq!((at("uploads/cat.jpg"), at("uploads/dog.jpg")), ("a cat".into(), "a dog".into()));
    let beside = fs::read_dir(agent.root.join("srv/.app.tiding")).expect("a directory").flatten();
    let adopted: Vec<_> = beside.filter(|entry| entry.file_name().to_string_lossy().starts_with("adopted-")).collect();
    assert_eq!(adopted.len(), 1);
    assert!(adopted[0].path().join("old").exists() && adopted[0].path().join("uploads/dog.jpg").exists());
}

#[test]
fn a_release_belongs_to_a_user_of_the_nodes_by_name_or_is_refused_there() {
    use std::os::unix::fs::MetadataExt;
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    expect(&deploy(&lab, &source, &["--owner", "a:b:c"]), 2, "`:`");
    expect(&deploy(&lab, &source, &["--owner", "1000"]), 2, "UID:GID");
    let unknown = deploy(&lab, &source, &["--owner", "no-such-user", "--patience", "2s"]);
    expect(&unknown, 5, "there is no user no-such-user here");
    expect(&unknown, 5, "useradd --system no-such-user");
    assert!(!live(&agent).exists());
    if !rustix::process::geteuid().is_root() {
        expect(&deploy(&lab, &source, &["--owner", "root", "--patience", "2s"]), 5, "cannot give files away");
        return;
    }
    expect(&deploy(&lab, &source, &["--owner", "daemon:1234"]), 0, "confirmed");
    let daemon = fs::read_to_string("/etc/passwd").expect("users");
    let daemon = daemon.lines().find_map(|line| line.strip_prefix("daemon:x:")).and_then(|line| line.split(':').next());
    let daemon: u32 = daemon.expect("every Linux has it").parse().expect("a number");
    for path in ["", "large", "sub", "sub/small-3", "sub/empty"] {
        let meta = fs::metadata(live(&agent).join(path)).expect("it is live");
        assert_eq!((meta.uid(), meta.gid()), (daemon, 1234), "{path}");
    }
    let link = fs::symlink_metadata(live(&agent).join("link")).expect("it is live");
    assert_eq!((link.uid(), link.gid()), (daemon, 1234));
    expect(&lab.operator(&["verify"]), 0, "as published");
}

#[test]
fn as_many_releases_are_kept_as_the_operator_says_and_they_are_the_last_ones() {
    let lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    fs::create_dir(&source).expect("a directory");
    let second = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let deploy = |version: &str, keep: &str| {
        fs::write(source.join("version"), version).expect("a file");
        // A release says in seconds when it was made, which is what tells the last ones after a restart.
        let last = second();
        lab::until("another second has begun", || second() > last);
        expect(&deploy(&lab, &source, &["--version", version, "--keep", keep]), 0, "confirmed");
    };
    let laid_out = |agent: &Node| {
        let beside = fs::read_dir(agent.root.join("srv/.app.tiding")).expect("a directory").flatten();
        let version = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("version")).ok();
        beside.filter_map(version).collect::<std::collections::BTreeSet<String>>()
    };
    let are = |agent: &Node, versions: &[&str]| {
        let expected = versions.iter().map(|version| (*version).to_owned()).collect();
        lab::until(&format!("{versions:?} are laid out"), || laid_out(agent) == expected);
    };
    ["1", "2", "3", "4", "5"].into_iter().for_each(|version| deploy(version, "3"));
    are(&agent, &["2", "3", "4", "5"]);
    agent.kill();
    agent = lab.agent("node-1");
    deploy("6", "3");
    are(&agent, &["3", "4", "5", "6"]);
    // What is gone back to is in use, however few are kept, and what it was gone back from is the order's fallback.
    expect(&lab.operator(&["rollback", "--to", "3"]), 0, "3 is confirmed");
    deploy("7", "0");
    are(&agent, &["3", "7"]);
    expect(&lab.operator(&["deploy", &source.to_string_lossy(), "--to", "/srv/app", "--keep", "101"]), 2, "100");
}
