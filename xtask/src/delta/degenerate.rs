//! `cargo xtask bench delta --degenerate`: files on which searches and sorts are slow, beside one that is as others are.
//!
//! The files are made here, 64 MiB each: zeros, periods, a Fibonacci string, and text that was edited as the ordinary one.

use super::measured::Spent;
use super::records::Outcome;
use super::tools::{self, Tool};
use super::{Files, Room, one};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// The length of each file, in bytes.
const LEN: usize = 64 << 20;

/// What a file may take of what the ordinary one takes.
const MOST: f64 = 4.0;

/// Measures each pair by both efforts and prints a table; an error when something took too long or did not come back.
pub(super) fn run(binary: &Path) -> Result<()> {
    let tools = tools::present(binary);
    let ours: Vec<&Tool> = tools.iter().filter(|tool| tool.takes_trees).collect();
    println!("| old to new, 64 MiB each | tool | patch | diff CPU s | of ordinary | apply CPU s |");
    println!("| --- | --- | --: | --: | --: | --: |");
    let mut late = Vec::new();
    for tool in ours {
        let mut ordinary = None;
        for (name, make) in pairs() {
            let (bytes, diff, apply) = measure(tool, name, make())?;
            let of = diff.cpu / *ordinary.get_or_insert(diff.cpu);
            println!("| {name} | {} | {bytes} | {:.2} | {of:.2} | {:.2} |", tool.name, diff.cpu, apply.cpu);
            if of > MOST {
                late.push(format!("{name} by {}: {of:.1} times", tool.name));
            }
        }
    }
    ensure!(late.is_empty(), "more than {MOST} times what an ordinary file takes:\n{}", late.join("\n"));
    Ok(())
}

fn measure(tool: &Tool, name: &str, [old, new]: [Vec<u8>; 2]) -> Result<(u64, Spent, Spent)> {
    let room = Room::new("degenerate")?;
    let files =
        Files { old: room.0.join("old.bin"), new: room.0.join("new.bin"), trees: None, new_len: new.len() as u64 };
    fs::write(&files.old, old).with_context(|| format!("writing {}", files.old.display()))?;
    fs::write(&files.new, new).with_context(|| format!("writing {}", files.new.display()))?;
    match one(tool, "degenerate", &files)? {
        Outcome::Done { bytes, diff, apply } => Ok((bytes, diff, apply)),
        Outcome::Failed(why) => anyhow::bail!("{name} by {}: {why}", tool.name),
        Outcome::NotBuilt => anyhow::bail!("{name}: {} takes no files", tool.name),
    }
}

type Make = fn() -> [Vec<u8>; 2];

/// The ordinary one first.
fn pairs() -> [(&'static str, Make); 7] {
    [
        ("text, edited in many places", || [text(), changed(edited(text()))]),
        ("zeros, one byte changed", || [vec![0; LEN], edited(vec![0; LEN])]),
        ("period of 48 to the same", || [period(48, 1), edited(period(48, 1))]),
        ("period of 48 to one of 49", || [period(48, 1), period(49, 2)]),
        ("Fibonacci, edited", || [fibonacci(), edited(fibonacci())]),
        ("Fibonacci to zeros", || [fibonacci(), vec![0; LEN]]),
        ("text to zeros", || [text(), vec![0; LEN]]),
    ]
}

/// Numbers that are the same in each run (splitmix64).
fn drawn(seed: u64) -> impl Iterator<Item = u64> {
    (0..).map(move |number: u64| {
        let mut state = (seed << 40).wrapping_add(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ state >> 31
    })
}

/// Words of a language of some thousands, the first ones oftener.
fn text() -> Vec<u8> {
    let mut text = Vec::with_capacity(LEN + 16);
    for number in drawn(1) {
        let word = ((number % 4096) * (number >> 20 & 0xfff)) >> 12;
        text.extend(format!("{:x} ", word.wrapping_mul(0x9e37_79b9) & 0xfff_ffff).bytes());
        if text.len() >= LEN {
            break;
        }
    }
    text.truncate(LEN);
    text
}

fn period(len: usize, seed: u64) -> Vec<u8> {
    let one: Vec<u8> = drawn(seed).map(|number| number as u8).take(len).collect();
    one.into_iter().cycle().take(LEN).collect()
}

fn fibonacci() -> Vec<u8> {
    let (mut before, mut last) = (b"a".to_vec(), b"ab".to_vec());
    while last.len() < LEN {
        let next = [&last[..], &before].concat();
        (before, last) = (last, next);
    }
    last.truncate(LEN);
    last
}

/// A byte in the middle is another, one is left out and a stretch is put elsewhere.
fn edited(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[LEN / 2] ^= 0x55;
    bytes.remove(LEN / 3);
    let moved: Vec<u8> = bytes.drain(1000..LEN / 8).collect();
    bytes.extend(moved);
    bytes
}

/// Some bytes are others, as many as a new release of a program has.
fn changed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.chunks_mut(500).zip(drawn(3)).for_each(|(part, number)| {
        let at = number as usize % part.len();
        part[at] ^= number as u8;
    });
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinary_one_comes_first_and_all_are_as_long() {
        assert!(pairs()[0].0.starts_with("text, edited in many"));
        assert_eq!([text().len(), fibonacci().len(), period(48, 1).len()], [LEN; 3]);
        assert_eq!(fibonacci()[..8], *b"abaababa");
    }
}
