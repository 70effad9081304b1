//! Files at speed: import and layout of large files and of many small ones, beside a bare create / write / syncfs loop in the
//! same run, on a RAM disk and on a disk.
//!
//! `tiding-bench files [--runs N] [--files N] [--fleet-files N] [--large GiB] [--ram DIR] [--disk DIR]`; 0 leaves a part out.

use crate::fleet::Fleet;
use crate::lab::{self, Cost, Lab};
use crate::{files, process, report};
use anyhow::{Context, Result, bail};
use node::hands::Threads;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Length of a small file, in bytes.
const SMALL: usize = 4096;
/// Length of the file whose import is measured, in bytes.
const GIB: usize = 1 << 30;
/// Agents of the fleet.
const AGENTS: usize = 4;

struct Arguments {
    runs: usize,
    files: usize,
    fleet_files: usize,
    large: usize,
    ram: PathBuf,
    disk: PathBuf,
}

/// A place where files are measured, and what is asked of it in files/s: must and aim.
struct Place<'a> {
    name: &'a str,
    dir: &'a Path,
    asked: (f64, f64),
}

/// One part of a run, in a directory of its own.
type Part<'a> = dyn Fn(&Path, &mut Figures) -> Result<()> + 'a;

/// Figures of several runs by what was measured, in the order of the first run.
#[derive(Default)]
struct Figures(Vec<(String, &'static str, String, Vec<f64>)>);

pub(crate) fn run(words: &[String], tiding: &Path) -> Result<()> {
    let arguments = parse(words)?;
    report::asked_head();
    let ram = Place { name: "RAM disk", dir: &arguments.ram, asked: (12_000.0, 25_000.0) };
    let disk = Place { name: "disk", dir: &arguments.disk, asked: (6_000.0, 12_000.0) };
    for place in [ram, disk].iter().filter(|place| place.dir != Path::new("none")) {
        let mut figures = Figures::default();
        for run in 0..arguments.runs {
            let held = tempfile::Builder::new().prefix("tiding-files-").tempdir_in(place.dir)?;
            measure(&arguments, place, held.path(), run, tiding, &mut figures)?;
        }
        figures.show();
    }
    Ok(())
}

fn parse(words: &[String]) -> Result<Arguments> {
    let temp = std::env::temp_dir();
    let mut arguments =
        Arguments { runs: 3, files: 100_000, fleet_files: 40_000, large: 1, ram: "/dev/shm".into(), disk: temp };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--runs" => arguments.runs = value.parse()?,
            "--files" => arguments.files = value.parse()?,
            "--fleet-files" => arguments.fleet_files = value.parse()?,
            "--large" => arguments.large = value.parse()?,
            "--ram" => arguments.ram = value.into(),
            "--disk" => arguments.disk = value.into(),
            other => bail!(
                "unknown argument {other}; known: --runs N --files N --fleet-files N --large GiB --ram DIR|none \
                 --disk DIR|none"
            ),
        }
    }
    Ok(arguments)
}

/// One run of every part, each in a directory that is removed before the next begins.
fn measure(
    arguments: &Arguments,
    place: &Place<'_>,
    dir: &Path,
    run: usize,
    tiding: &Path,
    figures: &mut Figures,
) -> Result<()> {
    let parts: [(&str, usize, &Part<'_>); 3] = [
        ("large", arguments.large, &|dir, to| large(place, dir, arguments.large, run, to)),
        ("small", arguments.files, &|dir, to| small(place, dir, arguments.files, to)),
        ("fleet", arguments.fleet_files, &|dir, to| fleet(place, dir, arguments.fleet_files, tiding, to)),
    ];
    for (name, wanted, part) in parts {
        if wanted > 0 {
            let dir = dir.join(name);
            fs::create_dir_all(&dir)?;
            part(&dir, figures)?;
            fs::remove_dir_all(&dir)?;
        }
    }
    Ok(())
}

/// A large file: published, kept, laid out, by one thread and then by all; beside writing and syncing as many bytes.
fn large(place: &Place<'_>, dir: &Path, gib: usize, run: usize, figures: &mut Figures) -> Result<()> {
    let name = |what: &str| format!("{gib} GiB file, {what}, {}", place.name);
    let (payload, bytes) = (dir.join("payload"), gib * GIB);
    let asked = if gib == 1 { "400 / 700" } else { "" };
    let bare = || {
        files::random_file(&payload, bytes, run as u64 + 7)?;
        Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)
    };
    figures.speed(name("bare write and syncfs"), "", bytes, lab::cost(bare)?.0);
    let took = Lab::new(&dir.join("one"), Threads::of(1))?.deploy(&payload, 1)?;
    figures.speed(name("import (cut, hash), one thread"), "", bytes, took.import);
    figures.speed(name("import (cut, hash, store, sync), one thread"), asked, bytes, took.import + took.keep);
    figures.speed(name("layout, one thread"), "", bytes, took.layout);
    let peak = process::memory_kib(std::process::id()).map_or(0, |(_, peak)| peak);
    figures.add(name("peak memory of all of it in one process"), "MiB", "", peak as f64 / 1024.0);
    fs::remove_dir_all(dir.join("one"))?;
    let took = Lab::new(&dir.join("all"), Threads::all())?.deploy(&payload, 1)?;
    figures.speed(name("import (cut, hash), all threads"), "", bytes, took.import);
    figures.speed(name("layout, all threads"), "", bytes, took.layout);
    Ok(())
}

/// Many small files by one thread, and then one of them changed, and again by all; beside the bare loop.
fn small(place: &Place<'_>, dir: &Path, count: usize, figures: &mut Figures) -> Result<()> {
    let name = |what: &str| format!("{count} files of 4 KiB, {what}, {}", place.name);
    let tree = dir.join("tree");
    let mut rate = |what: &str, took: Cost| figures.rate(name(what), count, took);
    rate("bare create / write / syncfs", files::bare_loop(&dir.join("bare"), count, SMALL)?);
    files::small_files(&tree, count, SMALL)?;
    let all = Lab::new(&dir.join("all"), Threads::all())?.deploy(&tree, 1)?;
    rate("import (walk, cut, hash), all threads", all.import);
    rate("layout and sync, all threads", all.layout);
    fs::remove_dir_all(dir.join("all"))?;
    let mut lab = Lab::new(dir, Threads::of(1))?;
    let first = lab.deploy(&tree, 1)?;
    rate("import (walk, cut, hash), one thread", first.import);
    rate("keep (verify, store, sync), one thread", first.keep);
    rate("layout and sync, one thread", first.layout);
    change_one(&tree, count, 2)?;
    let second = lab.deploy(&tree, 2)?;
    let mut seconds = |what: &str, took: Duration| figures.add(name(what), "s", "", took.as_secs_f64());
    seconds("one changed: import again", second.import.wall);
    seconds("one changed: keep", second.keep.wall);
    seconds("one changed: layout and sync", second.layout.wall);
    seconds("one changed: switch", second.switch.wall);
    seconds("one changed: collect the first", lab.collect()?);
    // Files into which nobody writes are shared with the release before.
    files::forbid_writing(&tree)?;
    lab.deploy(&tree, 3)?;
    change_one(&tree, count, 4)?;
    let fourth = lab.deploy(&tree, 4)?;
    seconds("one changed, read-only files: layout and sync", fourth.layout.wall);
    let (shared, all) = files::shared(&dir.join("srv/app"))?;
    let mut counted = |what: &str, files: usize| figures.add(name(what), "files", "", files as f64);
    counted("one changed, read-only files: written", all - shared);
    Ok(())
}

/// Many small files from a directory to live on every agent, and then one of them changed; beside the bare loop.
fn fleet(place: &Place<'_>, dir: &Path, count: usize, tiding: &Path, figures: &mut Figures) -> Result<()> {
    let name = |what: &str| format!("{count} files of 4 KiB to {AGENTS} agents, {what}, {}", place.name);
    let (must, aim) = place.asked;
    let tree = dir.join("tree");
    let bare = files::bare_loop(&dir.join("bare"), count, SMALL)?;
    fs::remove_dir_all(dir.join("bare"))?;
    figures.rate(name("bare loop, one tree"), count, bare);
    files::small_files(&tree, count, SMALL)?;
    let fleet = Fleet::start(tiding, AGENTS, dir)?;
    let first = fleet.deploy(&tree, "/srv/small")?;
    let rate = per_second(count, first.wall);
    figures.add(name("publish to live, each"), "files/s", &format!("{must:.0} / {aim:.0}"), rate);
    figures.add(name("CPU"), "s", "", first.cpu);
    change_one(&tree, count, 2)?;
    figures.add(name("one changed"), "s", "", fleet.deploy(&tree, "/srv/small")?.wall.as_secs_f64());
    figures.add(name("peak memory of an agent"), "MiB", "96 must", fleet.memory().peak as f64 / 1024.0);
    Ok(())
}

/// Replaces one file in the middle.
fn change_one(tree: &Path, count: usize, seed: u64) -> Result<()> {
    let one = count / 2;
    let path = tree.join(format!("d{:04}/f{one:06}", one / 100));
    let mode = fs::metadata(&path)?.permissions();
    fs::remove_file(&path)?;
    files::random_file(&path, SMALL, 999_999_999 + seed * 2)?;
    Ok(fs::set_permissions(&path, mode)?)
}

fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

impl Figures {
    /// Bytes by the clock, and by the processor's time.
    fn speed(&mut self, what: String, asked: &str, bytes: usize, took: Cost) {
        self.add(format!("{what}, per CPU second"), "MB/s", "", per_second(bytes, took.cpu) / 1e6);
        self.add(what, "MB/s", asked, per_second(bytes, took.wall) / 1e6);
    }

    /// Files by the clock, and by the processor's time.
    fn rate(&mut self, what: String, count: usize, took: Cost) {
        self.add(format!("{what}, per CPU second"), "files/s", "", per_second(count, took.cpu));
        self.add(what, "files/s", "", per_second(count, took.wall));
    }

    fn add(&mut self, what: String, unit: &'static str, asked: &str, figure: f64) {
        eprintln!("{what}: {figure:.1} {unit}");
        match self.0.iter_mut().find(|(other, ..)| *other == what) {
            Some((.., figures)) => figures.push(figure),
            None => self.0.push((what, unit, asked.to_owned(), vec![figure])),
        }
    }

    fn show(self) {
        for (what, unit, asked, figures) in self.0 {
            report::asked_row(&what, unit, &asked, figures);
        }
    }
}
