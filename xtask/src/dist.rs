//! `cargo xtask dist`: what users install. A `.deb`, a `.tar.gz` with scripts, and their SHA-256 sums, each the same bytes whenever it is
//! made of the same ones.
//!
//! The lists of what goes where are here and in `dist/`; `dpkg-deb` and `tar` make the archives, told to forget who made them and when.

use crate::step::{self, cargo, installed, output, root, target};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const HELP: &str = "cargo xtask dist [--binary FILE] [--out DIR]";

/// A file of a package: where it comes from, where it goes, and its mode.
struct Part {
    from: PathBuf,
    to: String,
    mode: u32,
}

/// What packages are made of.
struct Goods {
    binary: PathBuf,
    /// Pages and completions, made by the binary.
    made: PathBuf,
    /// What stands for every time in an archive, in seconds since 1970.
    epoch: u64,
    version: String,
    /// The best compression takes minutes where nothing is optimised.
    level: u8,
}

/// `cargo xtask dist`.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let (mut binary, mut out) = (None, target().join("dist-packages"));
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = || words.clone().next().map(PathBuf::from).with_context(|| format!("{word} needs a value; {HELP}"));
        match word.as_str() {
            "--binary" => binary = Some(value()?),
            "--out" => out = value()?,
            other => bail!("unknown argument {other}; {HELP}"),
        }
        words.next();
    }
    let binary = binary.map_or_else(build, Ok)?;
    for package in make(&binary, &out, 9)? {
        println!("{}", package.display());
    }
    Ok(())
}

fn build() -> Result<PathBuf> {
    let mut build = cargo(["build", "--profile", "dist", "--package", "tiding-cli", "--locked"]);
    // Paths of this machine stand in no package.
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| home + "/.cargo"));
    let remap = |from: &str, to: &str| format!("--remap-path-prefix={from}={to}");
    let flags = [remap(&root().display().to_string(), "/tiding"), remap(&home.unwrap_or_default(), "/cargo")];
    build.env("RUSTFLAGS", flags.join(" "));
    step::run("build", build)?;
    Ok(target().join("dist").join("tiding"))
}

/// Makes all packages of a binary in a directory; where they are.
fn make(binary: &Path, out: &Path, level: u8) -> Result<Vec<PathBuf>> {
    let staging = out.join("staging");
    remove(&staging)?;
    fs::create_dir_all(&staging)?;
    let made = staging.join("made");
    let version = describe(binary, &made)?;
    let goods = Goods { binary: binary.to_owned(), made, epoch: epoch()?, version, level };
    let mut packages = vec![archive(&goods, &staging, out)?];
    match installed("dpkg-deb") {
        true => packages.push(debian(&goods, &staging, out)?),
        false => eprintln!("!!! dpkg-deb is not installed. NOT MADE: the .deb."),
    }
    packages.push(sums(&packages, out)?);
    remove(&staging)?;
    Ok(packages)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Has the binary write its manual and completions; its version.
fn describe(binary: &Path, made: &Path) -> Result<String> {
    fs::create_dir_all(made)?;
    let mut man = Command::new(binary);
    man.arg("man").arg(made.join("man1"));
    output("the manual", man)?;
    for (shell, name) in [("bash", "tiding.bash"), ("zsh", "_tiding"), ("fish", "tiding.fish")] {
        let mut script = Command::new(binary);
        script.args(["completions", shell]);
        fs::write(made.join(name), output("completions", script)?)?;
    }
    let mut version = Command::new(binary);
    version.arg("--version");
    let said = output("its version", version)?;
    let version = said.trim().strip_prefix("tiding ").with_context(|| format!("it calls itself `{}`", said.trim()))?;
    Ok(version.to_owned())
}

/// The time that stands in archives: as the environment says, or that of the newest commit.
fn epoch() -> Result<u64> {
    let said = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(said) => said,
        Err(_) => {
            let mut log = Command::new("git");
            log.args(["log", "-1", "--format=%ct"]).current_dir(root());
            output("the time of the newest commit", log)?
        }
    };
    said.trim()
        .parse()
        .with_context(|| format!("SOURCE_DATE_EPOCH is `{}`, which is no number of seconds", said.trim()))
}

impl Goods {
    /// What both packages hold besides where it goes.
    fn parts(&self, man: &str, completions: [&str; 3], doc: &str) -> Result<Vec<Part>> {
        let part = |from: PathBuf, to: String, mode| Part { from, to, mode };
        let mut parts = Vec::new();
        for page in sorted(&self.made.join("man1"))? {
            let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
            parts.push(part(page, format!("{man}/{name}"), 0o644));
        }
        let scripts = ["tiding.bash", "_tiding", "tiding.fish"].into_iter().zip(completions);
        parts.extend(scripts.map(|(name, to)| part(self.made.join(name), to.to_owned(), 0o644)));
        for name in ["LICENSE-MIT", "LICENSE-APACHE", "CHANGELOG.md", "docs/operations.md"] {
            let last = name.rsplit('/').next().unwrap_or(name);
            parts.push(part(root().join(name), format!("{doc}/{last}"), 0o644));
        }
        Ok(parts)
    }
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut all = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}

fn dist(name: &str) -> PathBuf {
    root().join("dist").join(name)
}

/// Lays parts out below a directory.
fn lay_out(parts: &[Part], at: &Path) -> Result<()> {
    for Part { from, to, mode } in parts {
        let place = at.join(to);
        fs::create_dir_all(place.parent().context("a part stands in a directory")?)?;
        fs::copy(from, &place).with_context(|| format!("{} -> {to}", from.display()))?;
        fs::set_permissions(&place, fs::Permissions::from_mode(*mode))?;
    }
    let mut modes = Command::new("find");
    modes.arg(at).args(["-type", "d", "-exec", "chmod", "755", "{}", "+"]);
    step::run("modes of directories", modes)
}

/// The plain archive, with scripts that install and uninstall.
fn archive(goods: &Goods, staging: &Path, out: &Path) -> Result<PathBuf> {
    let name = format!("tiding-{}-{}-linux", goods.version, std::env::consts::ARCH);
    let completions = ["completions/tiding.bash", "completions/_tiding", "completions/tiding.fish"];
    let mut parts = goods.parts("man/man1", completions, "doc")?;
    for (from, to, mode) in [
        (goods.binary.clone(), "bin/tiding", 0o755),
        (dist("install.sh"), "install.sh", 0o755),
        (dist("uninstall.sh"), "uninstall.sh", 0o755),
        (dist("tiding.toml"), "etc/tiding.toml", 0o644),
        (dist("systemd/tiding.service"), "systemd/tiding.service", 0o644),
        (dist("systemd/tiding-hands.service"), "systemd/tiding-hands.service", 0o644),
        (dist("systemd/origin-hardening.conf"), "systemd/origin-hardening.conf", 0o644),
        (dist("systemd/hands.conf"), "systemd/hands.conf", 0o644),
    ] {
        parts.push(Part { from, to: to.to_owned(), mode });
    }
    lay_out(&parts, &staging.join(&name))?;
    let (plain, packed) = (staging.join("archive.tar"), out.join(format!("{name}.tar.gz")));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"]);
    tar.arg(format!("--mtime=@{}", goods.epoch)).arg("-cf").arg(&plain).arg("-C").arg(staging).arg(&name);
    step::run("tar", tar)?;
    let mut gzip = Command::new("gzip");
    // Without a name and a time.
    gzip.args(["-n", "-c", &format!("-{}", goods.level)]).arg(&plain).stdout(fs::File::create(&packed)?);
    step::run("gzip", gzip)?;
    Ok(packed)
}

/// The Debian package.
fn debian(goods: &Goods, staging: &Path, out: &Path) -> Result<PathBuf> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("what Debian calls {other} is not known here"),
    };
    let completions = [
        "usr/share/bash-completion/completions/tiding",
        "usr/share/zsh/vendor-completions/_tiding",
        "usr/share/fish/vendor_completions.d/tiding.fish",
    ];
    let mut parts = goods.parts("usr/share/man/man1", completions, "usr/share/doc/tiding")?;
    for (from, to, mode) in [
        (goods.binary.clone(), "usr/bin/tiding", 0o755),
        (dist("systemd/tiding.service"), "lib/systemd/system/tiding.service", 0o644),
        (dist("systemd/tiding-hands.service"), "lib/systemd/system/tiding-hands.service", 0o644),
        (dist("systemd/origin-hardening.conf"), "usr/share/doc/tiding/origin-hardening.conf", 0o644),
        (dist("systemd/hands.conf"), "usr/share/doc/tiding/hands.conf", 0o644),
        (dist("tiding.toml"), "etc/tiding/tiding.toml", 0o644),
        (dist("debian/copyright"), "usr/share/doc/tiding/copyright", 0o644),
    ] {
        parts.push(Part { from, to: to.to_owned(), mode });
    }
    let at = staging.join("deb");
    lay_out(&parts, &at)?;
    let texts: Vec<PathBuf> = parts.iter().filter(|part| is_packed(&part.to)).map(|part| at.join(&part.to)).collect();
    let mut pack = Command::new("gzip");
    // Debian's policy wants manuals and changelogs compressed (12.1, 12.7).
    pack.args(["-n", "-9"]).args(&texts);
    step::run("gzip of the manual", pack)?;
    let size: u64 = parts.iter().filter_map(|part| fs::metadata(&part.from).ok()).map(|meta| meta.len()).sum();
    let control = at.join("DEBIAN");
    fs::create_dir(&control)?;
    fs::write(control.join("control"), control_of(goods, architecture, size.div_ceil(1024))?)?;
    fs::write(control.join("conffiles"), "/etc/tiding/tiding.toml\n")?;
    for script in ["postinst", "prerm", "postrm"] {
        fs::copy(dist("debian").join(script), control.join(script))?;
        fs::set_permissions(control.join(script), fs::Permissions::from_mode(0o755))?;
    }
    for file in ["control", "conffiles"] {
        fs::set_permissions(control.join(file), fs::Permissions::from_mode(0o644))?;
    }
    fs::set_permissions(&control, fs::Permissions::from_mode(0o755))?;
    let package = out.join(format!("tiding_{}-1_{architecture}.deb", goods.version));
    let mut deb = Command::new("dpkg-deb");
    deb.args(["--build", "--root-owner-group", "-Zgzip", &format!("-z{}", goods.level)]).arg(&at).arg(&package);
    deb.env("SOURCE_DATE_EPOCH", goods.epoch.to_string());
    step::run("dpkg-deb", deb)?;
    Ok(package)
}

fn is_packed(to: &str) -> bool {
    to.starts_with("usr/share/man/") || to.ends_with("/CHANGELOG.md")
}

fn control_of(goods: &Goods, architecture: &str, kib: u64) -> Result<String> {
    let bytes = fs::read(&goods.binary)?;
    let depends =
        glibc(&bytes).map(|version| format!("Depends: libc6 (>= {version}), libgcc-s1\n")).unwrap_or_default();
    let version = &goods.version;
    Ok(format!(
        "Package: tiding\nVersion: {version}-1\nArchitecture: {architecture}\nMaintainer: the tiding authors <tiding@localhost>\n\
         Installed-Size: {kib}\n{depends}Section: admin\nPriority: optional\nHomepage: https://github.com/tiding/tiding\n\
         Description: brings directory trees to every server you run\n \
         Peer to peer, verified and signed, live at once, in waves, and back again when a\n release is bad. This package holds the one \
         program, which is origin, agent and\n the operator's tool, and a service that runs what this machine was made by\n \
         `tiding up` or `tiding join`.\n"
    ))
}

/// The newest version of the C library whose symbols a program names (`GLIBC_2.34`).
fn glibc(program: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"GLIBC_2.";
    let starts =
        program.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK).map(|(at, _)| at + MARK.len());
    let minor = |at: usize| -> Option<u32> {
        let digits: Vec<u8> = program[at..].iter().copied().take_while(u8::is_ascii_digit).take(3).collect();
        String::from_utf8(digits).ok()?.parse().ok()
    };
    starts.filter_map(minor).max().map(|minor| format!("2.{minor}"))
}

fn sums(packages: &[PathBuf], out: &Path) -> Result<PathBuf> {
    let names: Vec<&std::ffi::OsStr> = packages.iter().filter_map(|package| package.file_name()).collect();
    ensure!(!names.is_empty(), "nothing was made");
    let mut sha256sum = Command::new("sha256sum");
    sha256sum.args(names).current_dir(out);
    let (sums, at) = (output("sha256sum", sha256sum)?, out.join("SHA256SUMS"));
    fs::write(&at, sums)?;
    Ok(at)
}

#[cfg(test)]
mod tests;
