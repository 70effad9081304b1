//! Trees and files that are larger than anybody's memory: what they take, and what is said when there is no room.

#[path = "support/lab.rs"]
mod lab;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]
#[path = "support/mount.rs"]
mod mount;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/watched.rs"]
mod watched;

use lab::{Lab, Node, until};
use mount::Mount;
use said::{deploy_words, live};
use skip::skipped;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;
use watched::Watched;

/// The most memory that a process has had so far, in bytes; `None` when it has ended.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Deploys; how much memory that took, and what was said.
fn deploy_watched(lab: &Lab, source: &Path, patience: &str) -> (u64, String) {
    let words = [&deploy_words(source)[..], &["--patience", patience]].concat();
    let mut deploying = Watched::start(lab.operator_command(&words));
    let mut most = 0;
    // Each line is another moment; before the last ones it has served all it had.
    while deploying.reads("") {
        most = peak(deploying.pid()).unwrap_or(0).max(most);
    }
    assert!(most > 0, "it was never seen: {}", deploying.said);
    let ended = deploying.end();
    assert!(ended.success(), "{ended}\n{}", deploying.said);
    (most, std::mem::take(&mut deploying.said))
}

/// Where a file's data is: beginnings and ends, as far as the file system says.
fn data(file: &File) -> Vec<(u64, u64)> {
    use rustix::fs::{SeekFrom, seek};
    let mut found: Vec<(u64, u64)> = Vec::new();
    while let Ok(start) = seek(file, SeekFrom::Data(found.last().map_or(0, |last| last.1))) {
        found.push((start, seek(file, SeekFrom::Hole(start)).expect("data ends somewhere")));
    }
    found
}

#[test]
fn a19_a_file_of_a_terabyte_with_a_few_mebibytes_in_it_takes_the_room_and_memory_of_these() {
    const LEN: u64 = 1 << 40;
    const PART: usize = 1 << 20;
    const PIECE: u64 = 128 << 10;
    const MOST: u64 = 96 << 20;
    let lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    let source = lab.dir().join("source");
    fs::create_dir(&source).expect("a directory can be made");
    let file = File::create(source.join("disk.img")).expect("a file can be made");
    if let Err(error) = file.set_len(LEN) {
        return skipped("a19_a_file_of_a_terabyte...", &format!("no file here can be that long: {error}"));
    }
    // At its beginning, across round numbers, at its very end, and as much as a piece here and there.
    let places = [0, (1 << 32) - 77, LEN / 3, LEN / 2 - 1, LEN - PART as u64];
    let part = |nr: usize| (0..PART).map(|at| ((at * 31 + at / 251) ^ (nr * 77)) as u8).collect::<Vec<u8>>();
    for (nr, place) in places.iter().enumerate() {
        file.write_all_at(&part(nr), *place).expect("a file can be written");
    }
    let expected = data(&File::open(source.join("disk.img")).expect("it is there"));
    assert!(expected.len() >= places.len(), "this file system knows no holes");
    let (publisher, _) = deploy_watched(&lab, &source, "1m");
    for agent in &agents {
        let laid_out = File::open(live(agent).join("disk.img")).expect("it is live");
        let meta = laid_out.metadata().expect("it has metadata");
        assert_eq!(meta.len(), LEN);
        assert!(meta.blocks() * 512 < 2 * (places.len() * PART) as u64, "{} blocks", meta.blocks());
        let mut bytes = vec![0; PART];
        for (nr, place) in places.iter().enumerate() {
            laid_out.read_exact_at(&mut bytes, *place).expect("it can be read");
            assert!(bytes == part(nr), "other bytes at {place}");
        }
        // What lies between is nothing, without reading it: a piece may begin before the data in it, and end behind.
        let near =
            |(start, end): &(u64, u64)| expected.iter().any(|(from, to)| *from <= start + PIECE && *end <= to + PIECE);
        assert!(data(&laid_out).iter().all(near), "{:?} and {expected:?}", data(&laid_out));
    }
    let peaks = [&lab.origin, &agents[0], &agents[1]].map(|node| peak(node.pid()).expect("it runs"));
    assert!(peaks.iter().chain([&publisher]).all(|peak| *peak < MOST), "peaks of {peaks:?} and {publisher} bytes");
}

/// Makes so many small files, all of them different, a thousand in a directory.
fn small_files(at: &Path, files: usize) -> io::Result<()> {
    for thousand in 0..files.div_ceil(1000) {
        let dir = at.join(format!("{:03}/{:02}", thousand / 100, thousand % 100));
        fs::create_dir_all(&dir)?;
        for number in thousand * 1000..files.min(thousand * 1000 + 1000) {
            fs::write(dir.join(format!("f{:03}", number % 1000)), number.to_string())?;
        }
    }
    Ok(())
}

/// What a node says is in the way.
fn trouble(lab: &Lab, name: &str) -> Option<String> {
    Some(lab.status_of(name)?["trouble"].as_str()?.to_owned())
}

/// When something was last made or removed in the directory of an agent's releases.
fn changed(agent: &Node) -> SystemTime {
    let dir = agent.root.join("srv/.app.tiding");
    fs::metadata(dir).and_then(|meta| meta.modified()).expect("it has releases")
}

#[test]
fn a19_a_tree_of_more_files_than_there_are_inodes_is_refused_before_anything_is_laid_out() {
    const FILES: usize = 1500;
    let lab = Lab::new();
    let Some(small) = Mount::new(&lab.dir().join("node-1"), &["-t", "tmpfs", "-o", "nr_inodes=1000", "tmpfs"]) else {
        return skipped("a19_a_tree_of_more_files...", "only root may mount a tmpfs");
    };
    let (full, other) = (lab.agent("node-1"), lab.agent("node-2"));
    let (old, new) = (lab.dir().join("old"), lab.dir().join("new"));
    lab::tree(&old, 1 << 20, 1);
    small_files(&new, FILES).expect("files can be made");
    lab.deploy(&old);
    let before = changed(&full);
    let words = [&deploy_words(&new)[..], &["--patience", "5m", "--yes-size"]].concat();
    let mut deploying = Watched::start(lab.operator_command(&words));
    until("the other node shows the new release", || other.shows(&new));
    until("the full node says so", || trouble(&lab, "node-1").is_some_and(|why| why.starts_with("disk full: need ")));
    let why = trouble(&lab, "node-1").expect("it says so");
    // They are in two directories, which are in one, which is in the tree's own.
    let need = format!("disk full: need {} new files (inodes), have ", FILES + 2 + 1 + 1);
    let have = why.strip_prefix(&need).and_then(|rest| rest.split(',').next()?.parse::<usize>().ok());
    assert!(have.is_some_and(|have| have > 0 && have < 1000) && why.contains(", on "), "{why}");
    assert!(full.shows(&old), "the old release stays");
    assert_eq!(changed(&full), before, "something was laid out");
    small.remount("nr_inodes=10000");
    until("the full node shows the new release", || full.shows(&new));
    assert!(deploying.end().success(), "{}", deploying.said);
}

/// Deploys so many small files, and asserts what that takes in memory; what was said on the way.
fn many_files(files: usize) -> String {
    // Measured are 250 bytes at an agent and 420 at a publisher.
    const EACH: u64 = 600;
    const BESIDES: u64 = 40 << 20;
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    small_files(&source, files).expect("files can be made");
    let (publisher, said) = deploy_watched(&lab, &source, "1h");
    let most = BESIDES + EACH * files as u64;
    let peaks = [&lab.origin, &agent].map(|node| peak(node.pid()).expect("it runs"));
    assert!(
        peaks.iter().chain([&publisher]).all(|peak| *peak < most),
        "{peaks:?} and {publisher}, not below {most} bytes"
    );
    let same = |number: usize| {
        let path = format!("{:03}/{:02}/f{:03}", number / 100_000, number / 1000 % 100, number % 1000);
        fs::read(live(&agent).join(path)).is_ok_and(|bytes| bytes == number.to_string().as_bytes())
    };
    assert!((0..files).step_by(997).chain([files - 1]).all(same), "another tree is live");
    said
}

#[test]
fn a19_twenty_thousand_small_files_take_as_much_memory_for_each_as_is_promised() {
    let said = many_files(20_000);
    assert!(said.contains("read       20022 entries"), "{said}");
    assert!(said.contains("staged     1 of 1 node"), "{said}");
}

#[test]
#[ignore = "some minutes, a million files (or as many as TIDING_TEST_FILES says); cargo xtask long"]
fn a19_a_million_small_files_take_as_much_memory_for_each_as_is_promised_and_progress_is_said() {
    let files = std::env::var("TIDING_TEST_FILES").ok().map_or(1_000_000, |files| files.parse().expect("a number"));
    let said = many_files(files);
    for line in ["reading ", "read ", "staging ", "staged "] {
        assert!(said.lines().any(|said| said.starts_with(line)), "`{line}` was not said:\n{said}");
    }
}
