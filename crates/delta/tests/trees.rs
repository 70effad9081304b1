//! Trees there and back: whatever they are, and whatever comes in place of a patch.
#![allow(clippy::disallowed_methods, reason = "threads are what a test of several hands is about")]

use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tiding_delta::tree::{
    Files, Hands, Made, OneHand, Stop, TreeError, apply_tree, diff_tree, diff_tree_by, tree_budget,
};
use tiding_delta::{ApplyError, Budget, Effort, Malformed};

/// Files with names, in memory.
#[derive(Debug, Clone, Default)]
struct Tree(Vec<(String, Vec<u8>)>);

impl Files for Tree {
    fn count(&self) -> u32 {
        self.0.len() as u32
    }

    fn len(&self, file: u32) -> u64 {
        self.0[file as usize].1.len() as u64
    }

    fn read(&self, file: u32) -> Option<Vec<u8>> {
        Some(self.0[file as usize].1.clone())
    }

    fn name(&self, file: u32) -> Option<&[u8]> {
        Some(self.0[file as usize].0.as_bytes())
    }
}

const MEMORY: u64 = 1 << 30;

fn all(tree: &Tree) -> Vec<u32> {
    (0..tree.count()).collect()
}

fn lens(tree: &Tree, wanted: &[u32]) -> Vec<u64> {
    wanted.iter().map(|file| tree.len(*file)).collect()
}

/// What a tree patch makes: each file, and which of them are old ones.
fn applied(
    old: &Tree,
    new_lens: &[u64],
    wanted: &[u32],
    patch: &[u8],
    budget: Budget,
) -> Result<(BTreeMap<u32, Vec<u8>>, usize), TreeError> {
    let (mut files, mut copied) = (BTreeMap::new(), 0);
    apply_tree(old, new_lens, wanted, patch, budget, &mut |file, made| {
        let bytes = match made {
            Made::Old(from) => {
                copied += 1;
                old.0[from as usize].1.clone()
            }
            Made::Bytes(bytes) => bytes.to_vec(),
        };
        assert!(files.insert(file, bytes).is_none(), "each file comes once");
        Ok(())
    })?;
    Ok((files, copied))
}

/// Makes a patch, sees that it makes all of them again within what it says it needs, and returns it with how many are copied.
#[track_caller]
fn there_and_back(old: &Tree, new: &Tree, wanted: &[u32], effort: Effort) -> (Vec<u8>, usize) {
    let patch = diff_tree(old, new, wanted, effort, MEMORY).expect("all can be read");
    let lens = lens(new, wanted);
    let budget = tree_budget(old, &lens, &patch).expect("it was just written");
    let (files, copied) = applied(old, &lens, wanted, &patch, budget).expect("it applies");
    assert!(files.keys().eq(wanted), "all that are wanted, and no others");
    assert!(files.iter().all(|(file, bytes)| *bytes == new.0[*file as usize].1));
    (patch, copied)
}

fn text(words: u32, seed: u32) -> Vec<u8> {
    let word = |n: u32| format!("{:x} ", (n ^ seed).wrapping_mul(0x9e37_79b1) >> 12);
    (0..words).flat_map(|n| word(n).into_bytes()).collect()
}

fn tree(files: &[(&str, Vec<u8>)]) -> Tree {
    Tree(files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect())
}

/// The text with a word put in, and one taken out.
fn edited(bytes: &[u8]) -> Vec<u8> {
    let (start, rest) = bytes.split_at(bytes.len() / 3);
    let (middle, end) = rest.split_at(rest.len() / 2);
    [start, b"something else", middle, &end[10..]].concat()
}

#[test]
fn what_only_moved_or_was_copied_costs_next_to_nothing() {
    let many = |prefix: &str| Tree((0..500).map(|nth| (format!("{prefix}/{nth:03}"), text(300, nth * 7919))).collect());
    let (old, mut new) = (many("app-1.0"), many("app-2.0"));
    new.0.push(("copy".to_owned(), text(300, 7919)));
    new.0.push(("empty".to_owned(), Vec::new()));
    new.0.push(("empty too".to_owned(), Vec::new()));
    let (patch, copied) = there_and_back(&old, &new, &all(&new), Effort::Best);
    assert_eq!(copied, 501);
    assert!(patch.len() < 20, "{}", patch.len());
}

#[test]
fn what_was_renamed_and_changed_is_found_by_what_is_in_it() {
    let (one, other) = (text(20_000, 1), text(20_000, 0x5500_0000));
    let old = tree(&[("a", text(3000, 3)), ("lib/one.dat", one.clone()), ("lib/other.dat", other.clone())]);
    let new = tree(&[("b/first", edited(&other)), ("b/second", edited(&one))]);
    let (patch, _) = there_and_back(&old, &new, &all(&new), Effort::Best);
    assert!(patch.len() < 300, "{}", patch.len());
    // Two that changed places are found where they went, whatever they are called.
    let swapped = tree(&[("lib/one.dat", edited(&other)), ("lib/other.dat", edited(&one))]);
    let (patch, _) = there_and_back(&old, &swapped, &all(&swapped), Effort::Best);
    assert!(patch.len() < 300, "{}", patch.len());
}

#[test]
fn a_version_in_the_name_is_no_other_file() {
    // So short that nothing in it says what it was.
    let old = tree(&[("lib-abc123/a", b"x=1".to_vec()), ("lib-abc123/b", b"version = 2.4.5, of a Friday\n".to_vec())]);
    let new = tree(&[("lib-def456/b", b"version = 2.4.6, of a Friday\n".to_vec())]);
    let (patch, _) = there_and_back(&old, &new, &[0], Effort::Best);
    let (bare, _) = there_and_back(&Tree::default(), &new, &[0], Effort::Best);
    assert!(patch.len() + 5 < bare.len(), "{} {}", patch.len(), bare.len());
}

#[test]
fn only_what_is_wanted_is_made() {
    let old = tree(&[("a", text(100, 1)), ("b", text(100, 2))]);
    let new = tree(&[("a", text(100, 1)), ("b", edited(&text(100, 2))), ("c", text(50, 9))]);
    for wanted in [vec![], vec![0], vec![1], vec![0, 2], vec![1, 2]] {
        there_and_back(&old, &new, &wanted, Effort::Best);
    }
    for nonsense in [vec![3], vec![1, 0], vec![1, 1]] {
        assert_eq!(diff_tree(&old, &new, &nonsense, Effort::Best, MEMORY), None);
    }
}

/// Many at once, and in no order.
struct ManyHands;

impl Hands for ManyHands {
    fn share(&self, jobs: usize, work: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            (0..jobs).rev().step_by(1 + jobs / 4).for_each(|first| {
                let last = first.saturating_sub(jobs / 4);
                scope.spawn(move || (last..=first).for_each(work));
            });
        });
    }
}

#[test]
fn hands_and_turns_make_no_other_patch() {
    let files = |edit: fn(&[u8]) -> Vec<u8>| {
        Tree((0..40).map(|nth| (format!("{nth}"), edit(&text(60_000, nth * 7919)))).collect())
    };
    let (old, new) = (files(<[u8]>::to_vec), files(edited));
    let by = |hands: &dyn Hands| diff_tree_by(hands, &old, &new, &all(&new), Effort::Fast, MEMORY);
    assert!(by(&OneHand).is_some());
    assert_eq!(by(&OneHand), by(&ManyHands));
    assert_eq!(by(&OneHand), by(&OneHand));
}

#[test]
fn with_little_memory_a_patch_is_larger_and_as_good() {
    let old = tree(&[("a", text(100_000, 1)), ("b", text(100_000, 2))]);
    let new = tree(&[("a", edited(&text(100_000, 1))), ("b", edited(&text(100_000, 2)))]);
    let patch = diff_tree(&old, &new, &[0, 1], Effort::Best, 1 << 20).expect("a patch");
    let (files, _) =
        applied(&old, &lens(&new, &[0, 1]), &[0, 1], &patch, Budget::for_output(1 << 24)).expect("applies");
    assert!(files.into_values().eq(new.0.into_iter().map(|(_, bytes)| bytes)));
}

#[test]
fn an_old_file_that_cannot_be_read_is_named() {
    struct Unreadable(Tree);
    impl Files for Unreadable {
        fn count(&self) -> u32 {
            self.0.count()
        }
        fn len(&self, file: u32) -> u64 {
            self.0.len(file)
        }
        fn read(&self, file: u32) -> Option<Vec<u8>> {
            // One has become shorter.
            self.0.read(file).map(|bytes| bytes[usize::from(file == 1)..].to_vec())
        }
    }
    let (old, new) = (tree(&[("a", text(9, 1)), ("b", text(100, 2))]), tree(&[("b", edited(&text(100, 2)))]));
    let patch = diff_tree(&old, &new, &[0], Effort::Best, MEMORY).expect("a patch");
    let budget = Budget::for_output(1 << 20);
    let made = |old: &dyn Files| apply_tree(old, &lens(&new, &[0]), &[0], &patch, budget, &mut |_, _| Ok(()));
    assert_eq!(made(&old), Ok(()));
    assert_eq!(made(&Unreadable(old.clone())), Err(TreeError::Unread(1)));
    assert_eq!(diff_tree(&Unreadable(old.clone()), &new, &[0], Effort::Best, MEMORY), None);
    let stopped = apply_tree(&old, &lens(&new, &[0]), &[0], &patch, budget, &mut |_, _| Err(Stop));
    assert_eq!(stopped, Err(TreeError::Stopped));
}

/// A tree patch of these numbers and bodies.
fn said(numbers: &[u64], bodies: &[u8]) -> Vec<u8> {
    let mut patch = b"tdgt\x01".to_vec();
    for &number in numbers {
        let mut number = number;
        while number >= 0x80 {
            patch.push(number as u8 | 0x80);
            number >>= 7;
        }
        patch.push(number as u8);
    }
    [&patch, bodies].concat()
}

#[test]
fn c12_tree_patches_that_make_no_sense_are_refused() {
    let old = tree(&[("a", b"0123456789".to_vec()), ("b", b"abcde".to_vec()), ("huge", vec![0; 1 << 20])]);
    let new_lens = [10, 0, 5, 5];
    let made = |numbers: &[u64], bodies: &[u8]| {
        let budget = Budget::for_output(1 << 20);
        applied(&old, &new_lens, &[3, 4, 8, 9], &said(numbers, bodies), budget).map(|(files, _)| files)
    };
    let refused = |why: Malformed, numbers: &[u64], bodies: &[u8]| {
        assert_eq!(made(numbers, bodies), Err(TreeError::Apply(ApplyError::Malformed(why))), "{numbers:?}");
    };
    // The first is old file 0; file 8 is old file 1, where 2 was expected; file 9 as well.
    let copies = [3, 0, 0, 0, 1, 0, 1, 0, 0, 1];
    let body = tiding_delta::diff(b"abcde", b"abcdE", Effort::Best);
    let len = body.len() as u64;
    assert!(made(&[&copies[..], &[0]].concat(), b"").is_ok());
    // The last is made in a part: of old file 1, the only one that is left.
    let parted = [2, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 0, len];
    assert!(made(&parted, &body).is_ok_and(|files| files[&9] == b"abcdE"));
    let with = |at: usize, number: u64| {
        let mut numbers = parted;
        numbers[at] = number;
        numbers
    };
    refused(Malformed::Files, &[0, 0], b"");
    refused(Malformed::Files, &[2, 0, 0, 0, 1, 0, 1, 0], b"");
    refused(Malformed::Sums, &with(3, 2), &body);
    refused(Malformed::Sums, &[1, 1, 0, 0, 0], b"");
    refused(Malformed::OutOfRange, &with(3, 1), &body);
    refused(Malformed::OutOfRange, &with(1, u64::MAX), &body);
    refused(Malformed::OutOfRange, &with(2, u64::MAX), &body);
    refused(Malformed::OutOfRange, &with(3, u64::MAX), &body);
    refused(Malformed::OutOfRange, &with(9, 3), &body);
    refused(Malformed::OutOfRange, &with(9, u64::MAX), &body);
    refused(Malformed::OutOfRange, &with(11, 1), &body);
    refused(Malformed::Length, &with(12, len + 1), &body);
    refused(Malformed::Length, &with(12, u64::MAX), &body);
    refused(Malformed::Length, &with(12, len - 1), &body);
    refused(Malformed::Idle, &with(7, 17), &body);
    refused(Malformed::Idle, &with(9, 2), &body);
    refused(Malformed::Sums, &with(9, 0), &body);
    refused(Malformed::Length, &parted, &[&body[..], b"x"].concat());
    // Twice the same file, and a part that makes nothing.
    refused(
        Malformed::Files,
        &[2, 0, 0, 0, 1, 0, 1, 2, 1, 1, 1, 0, len, 1, 1, 1, 0, len],
        &[&body[..], &body].concat(),
    );
    refused(Malformed::Idle, &[2, 0, 0, 0, 1, 0, 1, 2, 1, 1, 1, 0, len, 0, 0, 0], &body);
    let mut patch = said(&parted, &body);
    patch[4] = 9;
    let error = tree_budget(&old, &new_lens, &patch).expect_err("version 9");
    assert_eq!(error.to_string(), "it is a tree patch in format version 9, and this program applies version 1");
    patch[0] = b'x';
    assert_eq!(tree_budget(&old, &new_lens, &patch), Err(Malformed::Magic));
    assert!(tree_budget(&old, &new_lens[1..], &said(&parted, &body)).is_err());
}

#[test]
fn c12_what_a_tree_patch_makes_is_held_against_the_budget_before_any_of_it() {
    let (old, new) = (tree(&[("a", text(30_000, 1))]), tree(&[("a", edited(&text(30_000, 1)))]));
    let (patch, _) = there_and_back(&old, &new, &[0], Effort::Best);
    let lens = lens(&new, &[0]);
    let enough = tree_budget(&old, &lens, &patch).expect("just written");
    assert_eq!(enough.output, lens[0]);
    let short = applied(&old, &lens, &[0], &patch, Budget { output: lens[0] - 1, ..enough });
    assert!(matches!(short, Err(TreeError::Apply(ApplyError::OverBudget { of: "output", .. }))));
    let memory = old.len(0) + lens[0];
    for memory in [memory - 1, memory] {
        let scant = applied(&old, &lens, &[0], &patch, Budget { memory, ..enough });
        assert!(matches!(scant, Err(TreeError::Apply(ApplyError::OverBudget { of: "memory", .. }))));
    }
}

/// Edits of a tree of texts: what each new file is.
#[derive(Debug, Clone)]
enum Fate {
    Kept(usize),
    Renamed(usize),
    Edited(usize),
    Fresh(u32),
    Empty,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        (0usize..8).prop_map(Fate::Kept),
        (0usize..8).prop_map(Fate::Renamed),
        (0usize..8).prop_map(Fate::Edited),
        (0u32..9).prop_map(Fate::Fresh),
        Just(Fate::Empty),
    ];
    vec(fate, 0..12)
}

fn drawn(fates: &[Fate], old: &Tree) -> Tree {
    let file = |(nth, fate): (usize, &Fate)| {
        let of = |which: usize| old.0.get(which).cloned().unwrap_or_default();
        match *fate {
            Fate::Kept(which) => of(which),
            Fate::Renamed(which) => (format!("renamed{nth}"), of(which).1),
            Fate::Edited(which) => (of(which).0, edited(&[&of(which).1[..], &[b'.'; 30]].concat())),
            Fate::Fresh(seed) => (format!("fresh{nth}"), text(seed * seed * 3, seed + 77)),
            Fate::Empty => (format!("empty{nth}"), Vec::new()),
        }
    };
    Tree(fates.iter().enumerate().map(file).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn drawn_trees_come_back(sizes in vec(0u32..400, 0..8), fates in fates(), picked in vec(any::<bool>(), 12), is_fast in any::<bool>()) {
        let old = Tree(sizes.iter().enumerate().map(|(nth, size)| (format!("f{nth}"), text(*size, nth as u32 % 4))).collect());
        let new = drawn(&fates, &old);
        let wanted: Vec<u32> = (0..new.count()).filter(|file| picked[*file as usize]).collect();
        there_and_back(&old, &new, &wanted, if is_fast { Effort::Fast } else { Effort::Best });
    }

    #[test]
    fn c12_damaged_tree_patches_are_survived(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let old = tree(&[("a", text(50, 1)), ("b", text(900, 2)), ("c", text(900, 3))]);
        let new = tree(&[("a", text(50, 1)), ("b", edited(&text(900, 2))), ("d", edited(&text(900, 3))), ("e", text(90, 8))]);
        let lens = lens(&new, &all(&new));
        let mut patch = diff_tree(&old, &new, &all(&new), Effort::Best, MEMORY).expect("a patch");
        let at = at.index(patch.len());
        // Half of them in the beginning, where the numbers are.
        let at = if byte % 2 == 0 { at.min(at % 24) } else { at };
        patch[at] = byte;
        if cut { patch.truncate(at) }
        applied(&old, &lens, &all(&new), &patch, Budget::for_output(1 << 20)).ok();
    }
}
