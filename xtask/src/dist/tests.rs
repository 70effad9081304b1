//! Packages made of the debug binary, or of a stand-in where that was not built: what is in them, and that they install and go.

use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

/// Says what a package asks a binary for.
const STAND_IN: &str = r#"#!/bin/sh
case "$1" in
--version) echo "tiding 0.1.0" ;;
completions) echo "completions for $2" ;;
man) mkdir -p "$2"; for page in tiding tiding-run tiding-deploy; do echo ".TH $page 1" >"$2/$page.1"; done ;;
esac
"#;

struct Workshop {
    held: PathBuf,
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What is left in the directory of builds harms nobody.
        drop(fs::remove_dir_all(&self.held));
    }
}

impl Workshop {
    fn new(name: &str) -> Self {
        let held = target().join("tmp").join(format!("dist-{name}-{}", std::process::id()));
        fs::create_dir_all(&held).expect("a directory can be made");
        Self { held }
    }

    fn binary(&self) -> PathBuf {
        let real = target().join("debug/tiding");
        if real.is_file() {
            return real;
        }
        eprintln!("!!! {} was not built. NOT TESTED: packages of the real program.", real.display());
        let path = self.held.join("tiding");
        fs::write(&path, STAND_IN).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    fn make(&self, into: &str) -> Vec<PathBuf> {
        let out = self.held.join(into);
        make(&self.binary(), &out, 1).expect("packages are made")
    }

    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.held.join(name);
        fs::create_dir_all(&dir).expect("a directory can be made");
        dir
    }
}

fn run(program: &str, words: &[&std::ffi::OsStr]) -> String {
    let mut command = Command::new(program);
    command.args(words);
    output(program, command).expect("it goes well")
}

/// All files below a directory, with their modes.
fn listed(at: &Path) -> BTreeMap<String, u32> {
    let found = run("find", &[at.as_os_str(), "-type".as_ref(), "f".as_ref()]);
    let of = |path: &str| {
        let mode = fs::metadata(path).expect("it is there").mode() & 0o7777;
        (path.trim_start_matches(&format!("{}/", at.display())).to_owned(), mode)
    };
    found.lines().map(of).collect()
}

fn find<'a>(packages: &'a [PathBuf], ending: &str) -> Option<&'a PathBuf> {
    packages.iter().find(|package| package.to_string_lossy().ends_with(ending))
}

#[test]
fn packages_hold_what_they_should_and_are_the_same_bytes_each_time() {
    let shop = Workshop::new("twice");
    let (first, second) = (shop.make("one"), shop.make("two"));
    let sums = |packages: &[PathBuf]| fs::read_to_string(find(packages, "SHA256SUMS").expect("sums")).expect("text");
    assert_eq!(sums(&first), sums(&second));
    let Some(deb) = find(&first, ".deb") else { return eprintln!("!!! SKIPPED: dpkg-deb is not installed") };
    let at = shop.dir("deb");
    run("dpkg-deb", &["-R".as_ref(), deb.as_os_str(), at.as_os_str()]);
    let files = listed(&at);
    for (path, mode) in [
        ("usr/bin/tiding", 0o755),
        ("lib/systemd/system/tiding.service", 0o644),
        ("lib/systemd/system/tiding-hands.service", 0o644),
        ("etc/tiding/tiding.toml", 0o644),
        ("usr/share/man/man1/tiding.1.gz", 0o644),
        ("usr/share/man/man1/tiding-deploy.1.gz", 0o644),
        ("usr/share/bash-completion/completions/tiding", 0o644),
        ("usr/share/zsh/vendor-completions/_tiding", 0o644),
        ("usr/share/fish/vendor_completions.d/tiding.fish", 0o644),
        ("usr/share/doc/tiding/copyright", 0o644),
        ("usr/share/doc/tiding/origin-hardening.conf", 0o644),
        ("usr/share/doc/tiding/hands.conf", 0o644),
        ("DEBIAN/postinst", 0o755),
        ("DEBIAN/conffiles", 0o644),
    ] {
        assert_eq!(files.get(path), Some(&mode), "{path} in {files:?}");
    }
    assert!(files.keys().all(|path| !path.starts_with("var/")), "a package has no state: {files:?}");
    let owners = run("dpkg-deb", &["-c".as_ref(), deb.as_os_str()]);
    assert!(owners.lines().all(|line| line.contains(" root/root ")), "{owners}");
    if installed("lintian") {
        // Its opinion is shown, and decides nothing: this is no package of Debian's own.
        let status = Command::new("lintian").arg(deb).status();
        assert!(status.is_ok(), "{status:?}");
    } else {
        eprintln!("!!! lintian is not installed. NOT TESTED: Debian's policy.");
    }
}

#[test]
fn a_package_installs_upgrades_goes_and_leaves_what_is_not_its_own() {
    if !(installed("dpkg") && installed("fakeroot") && installed("dpkg-deb")) {
        return eprintln!("!!! SKIPPED: dpkg or fakeroot is not installed");
    }
    let shop = Workshop::new("dpkg");
    let packages = shop.make("out");
    let deb = find(&packages, ".deb").expect("a package");
    let at = shop.dir("root");
    fs::create_dir_all(at.join("var/lib/dpkg/info")).expect("a directory");
    fs::create_dir_all(at.join("var/lib/dpkg/updates")).expect("a directory");
    fs::write(at.join("var/lib/dpkg/status"), "").expect("written");
    let (live, state) = (at.join("srv/.app.tiding/1"), at.join("var/lib/tiding/store"));
    fs::create_dir_all(&live).and_then(|()| fs::create_dir_all(&state)).expect("directories");
    // The scripts of the package change the machine they run on: they are looked at by themselves, below.
    let dpkg = |words: &[&str], last: &std::ffi::OsStr| {
        let mut command = Command::new("fakeroot");
        command.args(["dpkg", "--force-not-root", "--force-depends", "--no-triggers", "--force-script-chrootless"]);
        command.arg(format!("--admindir={}", at.join("var/lib/dpkg").display()));
        command.arg(format!("--instdir={}", at.display())).arg("--log=/dev/null").args(words).arg(last);
        output("dpkg", command).expect("dpkg does it")
    };
    dpkg(&["--unpack"], deb.as_os_str());
    let config = at.join("etc/tiding/tiding.toml.dpkg-new");
    assert!(at.join("usr/bin/tiding").is_file() && config.is_file(), "{:?}", listed(&at));
    dpkg(&["--unpack"], deb.as_os_str());
    assert!(at.join("usr/bin/tiding").is_file() && state.is_dir() && live.is_dir());
}

#[test]
fn the_archive_installs_and_uninstalls_and_keeps_a_configuration() {
    let shop = Workshop::new("archive");
    let packages = shop.make("out");
    let (packed, at) = (find(&packages, ".tar.gz").expect("an archive"), shop.dir("unpacked"));
    run("tar", &["-xzf".as_ref(), packed.as_os_str(), "-C".as_ref(), at.as_os_str()]);
    let inside = sorted(&at).expect("a directory").pop().expect("one directory");
    let root = shop.dir("root");
    let script = |name: &str| {
        let mut command = Command::new(inside.join(name));
        command.env("DESTDIR", &root);
        output(name, command).expect("it goes well")
    };
    script("install.sh");
    let unit = fs::read_to_string(root.join("etc/systemd/system/tiding.service")).expect("a unit");
    assert!(unit.contains("\nExecStart=/usr/local/bin/tiding launch"), "{unit}");
    for at in ["etc/systemd/system/tiding-hands.service", "usr/local/share/doc/tiding/hands.conf"] {
        let unit = fs::read_to_string(root.join(at)).expect("a unit");
        assert!(unit.contains("\nExecStart=/usr/local/bin/tiding"), "{unit}");
    }
    let config = root.join("etc/tiding/tiding.toml");
    fs::write(&config, "name = 'web-7'\n").expect("written");
    script("install.sh");
    assert_eq!(fs::read_to_string(&config).expect("it is there"), "name = 'web-7'\n");
    fs::create_dir_all(root.join("var/lib/tiding")).expect("a directory");
    let said = script("uninstall.sh");
    assert!(said.contains("What stays") && root.join("var/lib/tiding").is_dir());
    assert_eq!(listed(&root).into_keys().collect::<Vec<_>>(), ["etc/tiding/tiding.toml"]);
}

/// Runs a script of the package as a removal would, on a copy that names other places.
fn postrm(word: &str, home: &Path) -> String {
    let text = fs::read_to_string(dist("debian/postrm")).expect("a script");
    let text = text
        .replace("home=/var/lib/tiding", &format!("home={}", home.display()))
        .replace("/run/systemd/system", "/nowhere");
    run("sh", &["-c".as_ref(), text.as_ref(), "postrm".as_ref(), word.as_ref()])
}

#[test]
fn nothing_of_users_goes_with_the_package_and_a_purge_keeps_what_makes_a_fleet() {
    let shop = Workshop::new("postrm");
    let home = shop.dir("home");
    fs::write(home.join("identity"), "x").expect("written");
    assert!(postrm("remove", &home).contains("stays") && home.join("identity").exists());
    fs::create_dir(home.join("ca")).expect("a directory");
    assert!(postrm("purge", &home).contains("this was an origin") && home.join("identity").exists());
    fs::remove_dir(home.join("ca")).expect("it is empty");
    let said = postrm("purge", &home);
    assert!(said.contains("removing") && said.contains("/srv/.app.tiding") && !home.exists(), "{said}");
}

/// The unit with what this machine has in place of what only a server has.
fn unit_here(shop: &Workshop, unit: &str, with: &[&str]) -> PathBuf {
    let here = |name: &str| {
        let text = fs::read_to_string(dist("systemd").join(name)).expect("a unit");
        let man = [("man:tiding(1)", "https://example.org/"), ("man:tiding-hands(1)", "https://example.org/")];
        let text = man.iter().fold(text, |text, (man, page)| text.replace(man, page));
        text.replace("/usr/bin/tiding", "/bin/true").replace("=tiding\n", "=nobody\n")
    };
    let at = shop.dir("units").join(unit);
    fs::write(&at, here(unit)).expect("written");
    fs::remove_dir_all(shop.dir("units/tiding.service.d")).expect("ours");
    for name in with {
        fs::write(shop.dir("units/tiding.service.d").join(name), here(name)).expect("written");
    }
    at
}

#[test]
fn systemd_understands_the_units_and_finds_an_origin_well_locked() {
    if !installed("systemd-analyze") {
        return eprintln!("!!! SKIPPED: systemd-analyze is not installed");
    }
    let shop = Workshop::new("units");
    let analyze = |words: &[&str], unit: &Path| {
        let mut command = Command::new("systemd-analyze");
        command.args(words).arg(unit).env("SYSTEMD_LOG_LEVEL", "warning");
        let out = command.output().expect("it runs");
        (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let hands = unit_here(&shop, "tiding-hands.service", &[]);
    assert_eq!(analyze(&["verify"], &hands), (true, String::new()), "no error, no warning");
    let half = unit_here(&shop, "tiding.service", &["hands.conf"]);
    assert_eq!(analyze(&["verify"], &half), (true, String::new()), "no error, no warning");
    let plain = unit_here(&shop, "tiding.service", &[]);
    assert_eq!(analyze(&["verify"], &plain), (true, String::new()), "no error, no warning");
    let security = ["security", "--offline=yes", "--no-pager"];
    let judged = analyze(&security, &plain).1;
    assert!(judged.contains("exposure level"), "{judged}");
    for locked in ["origin-hardening.conf", "hands.conf"] {
        let hardened = unit_here(&shop, "tiding.service", &[locked]);
        let judged = analyze(&[&security[..], &["--threshold=25"]].concat(), &hardened);
        assert!(judged.0, "{locked}: {}", judged.1.lines().last().unwrap_or_default());
    }
}

/// What services need that run what is not ours, lest they kill it or come back never.
#[test]
fn the_units_say_what_their_promises_rest_on() {
    for name in ["tiding.service", "tiding-hands.service"] {
        let unit = fs::read_to_string(dist("systemd").join(name)).expect("a unit");
        for line in
            ["Type=notify", "NotifyAccess=main", "KillMode=process", "Restart=on-failure", "StartLimitIntervalSec=0"]
        {
            assert!(unit.lines().any(|other| other == line), "{name}: {line}");
        }
        // Anything that implies a mount namespace, or is inherited by what releases start.
        for word in [
            "Protect",
            "Private",
            "ReadWritePaths",
            "NoNewPrivileges",
            "MemoryDeny",
            "MemoryMax",
            "TasksMax",
            "Restrict",
            "IPAddress",
        ] {
            assert!(!unit.lines().any(|line| line.starts_with(word)), "{name}: {word}");
        }
    }
}

#[test]
fn the_newest_c_library_that_is_named_is_found() {
    assert_eq!(glibc(b"xGLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_2."), Some("2.34".to_owned()));
    assert_eq!(glibc(b"#!/bin/sh"), None);
}
