//! Files as applications need them: what is left out of a tree, what a deploy of it would change, what
//! outlives releases, and what each node puts into its own.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::Lab;
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
