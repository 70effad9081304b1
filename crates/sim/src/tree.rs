//! Drawn trees: what operators publish, and what must then stand at every path.
//!
//! A tree here is an independent statement of what was published: checkers compare disks with it, not with manifests.

use crate::dice::Dice;
use crate::disk::{Seen, SimDir, SimDisk};
use std::collections::BTreeMap;
use std::io;
use store::disk::{Disk, Name};

/// One name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Directory(u16),
    File(u16, Vec<u8>),
    Symlink(Vec<u8>),
    /// Another name of the file at this path.
    HardLink(Vec<u8>),
}

/// A drawn tree: relative paths and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<Vec<u8>, Item>);

/// Names that people really use, and some that they should not.
const ODD: [&[u8]; 4] = [b"sp ace", b"-rf", b"\xff\xfe", "\u{fc}ml".as_bytes()];

impl Tree {
    /// A tree of about `size` bytes: some directories, one or more large files, many small ones, links of both sorts.
    pub(crate) fn draw(dice: &mut Dice, size: u64) -> Self {
        let mut items = BTreeMap::new();
        let dirs: Vec<Vec<u8>> = (0..dice.within(1..5)).map(|n| format!("d{n}").into_bytes()).collect();
        dirs.iter().for_each(|dir| drop(items.insert(dir.clone(), Item::Directory(0o755))));
        items.insert(b"d0/empty".to_vec(), Item::Directory(0o700));
        let mut left = size;
        for n in 0..dice.within(1..4) {
            let len = left / 2 + dice.below(5000);
            left = left.saturating_sub(len);
            items.insert(format!("large{n}").into_bytes(), Item::File(0o755, large(dice, len as usize)));
        }
        for n in 0..dice.within(6..30) {
            let name = [dice.pick(&dirs), format!("/s{n}").as_bytes()].concat();
            items.insert(name, small(dice));
        }
        let mut tree = Self(items);
        tree.add_links(dice, &dirs);
        tree
    }

    fn add_links(&mut self, dice: &mut Dice, dirs: &[Vec<u8>]) {
        let (dir, name): (&Vec<u8>, &[u8]) = (dice.pick(dirs), *dice.pick(&ODD));
        let odd = [dir, &b"/"[..], name].concat();
        self.0.insert(odd, small(dice));
        self.0.insert(b"current".to_vec(), Item::Symlink(dirs[0].clone()));
        self.0.insert(b"outside".to_vec(), Item::Symlink(b"/nowhere/../at all".to_vec()));
        self.0.insert(b"zlink".to_vec(), Item::HardLink(b"large0".to_vec()));
    }

    /// The next version: some files changed a little, some gone, some new, most as they were.
    pub(crate) fn next_version(&self, dice: &mut Dice) -> Self {
        let mut next = self.0.clone();
        for (path, item) in &self.0 {
            match item {
                Item::File(mode, bytes) if dice.chance(1, 4) && !bytes.is_empty() => {
                    let mut bytes = bytes.clone();
                    let at = dice.below(bytes.len() as u64) as usize;
                    let patch = dice.bytes(1 + at % 40);
                    bytes.splice(at..at, patch);
                    next.insert(path.clone(), Item::File(*mode, bytes));
                }
                Item::File(..) if path.starts_with(b"d") && dice.chance(1, 10) => drop(next.remove(path)),
                _ => (),
            }
        }
        let fresh = format!("d0/n{}", dice.below(1000)).into_bytes();
        next.insert(fresh, small(dice));
        Self(next)
    }

    /// Makes the tree as a directory on a disk, synced.
    pub(crate) fn plant(&self, disk: &SimDisk, at: &SimDir, name: &Name) -> io::Result<()> {
        disk.create_dir(at, name, 0o755)?;
        let root = disk.open_dir(at, name)?;
        let links_last = |link: bool| self.0.iter().filter(move |(_, item)| matches!(item, Item::HardLink(_)) == link);
        for (path, item) in links_last(false).chain(links_last(true)) {
            let (dir, name) = open_parent(disk, root, path)?;
            match item {
                Item::Directory(mode) => disk.create_dir(&dir, &name, *mode)?,
                Item::File(mode, bytes) => disk.write_at(&disk.create(&dir, &name, *mode)?, bytes, 0)?,
                Item::Symlink(target) => disk.symlink(&dir, &name, target)?,
                Item::HardLink(to) => {
                    let (from, old) = open_parent(disk, root, to)?;
                    disk.link(&from, &old, &dir, &name)?;
                }
            }
        }
        disk.sync_all(at)
    }

    /// The first difference between this tree and what was seen, in words.
    pub(crate) fn difference(&self, seen: &[(Vec<u8>, Seen)]) -> Option<String> {
        let seen: BTreeMap<&[u8], &Seen> = seen.iter().map(|(path, seen)| (path.as_slice(), seen)).collect();
        let extra = seen
            .keys()
            .find(|path| !self.0.contains_key(**path))
            .map(|path| says(path, "is there and was not published"));
        let wrong = || self.0.iter().find_map(|(path, item)| Some(says(path, self.wrong(&seen, path, item)?)));
        extra.or_else(wrong)
    }

    fn wrong(&self, seen: &BTreeMap<&[u8], &Seen>, path: &[u8], item: &Item) -> Option<&'static str> {
        let Some(found) = seen.get(path) else { return Some("is missing") };
        let fine = match (item, found) {
            (Item::Directory(mode), Seen::Directory(found)) => mode == found,
            (Item::Symlink(target), Seen::Symlink(found)) => target == found,
            (Item::File(mode, bytes), Seen::File(found, there, _)) => match bytes == there {
                true if mode != found => return Some("has another mode"),
                true => true,
                false if bytes.len() != there.len() => return Some("has another length"),
                false => return Some("has other bytes"),
            },
            (Item::HardLink(to), Seen::File(_, _, inode)) => {
                matches!(seen.get(to.as_slice()), Some(Seen::File(_, _, other)) if inode == other)
            }
            _ => return Some("is something else"),
        };
        (!fine).then_some("differs")
    }
}

fn says(path: &[u8], what: &str) -> String {
    format!("{} {what}", path.escape_ascii())
}

fn small(dice: &mut Dice) -> Item {
    let len = if dice.chance(1, 8) { 0 } else { dice.within(1..9000) };
    Item::File(*dice.pick(&[0o644, 0o600, 0o755, 0o444, 0o555]), dice.bytes(len as usize))
}

/// Mostly bytes that do not compress; sometimes with a long run of zeros inside, which becomes a hole.
fn large(dice: &mut Dice, len: usize) -> Vec<u8> {
    let mut bytes = dice.bytes(len);
    if dice.chance(1, 3) && len > 300_000 {
        bytes[100_000..240_000].fill(0);
    }
    bytes
}

fn open_parent(disk: &SimDisk, root: SimDir, path: &[u8]) -> io::Result<(SimDir, Name)> {
    let mut names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let last = Name::new(names.pop().unwrap_or_default()).map_err(io::Error::other)?;
    let dir = names
        .into_iter()
        .try_fold(root, |dir, name| disk.open_dir(&dir, &Name::new(name).map_err(io::Error::other)?))?;
    Ok((dir, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Platter;

    #[test]
    fn a_planted_tree_is_what_was_drawn_and_a_changed_byte_is_noticed() {
        let tree = Tree::draw(&mut Dice::new(5), 200_000);
        let platter = Platter::new(1, 1 << 24, false);
        let (disk, root) = platter.boot();
        let name = Name::new("build").expect("a plain name");
        tree.plant(&disk, &root, &name).expect("planted");
        platter.power_off();
        assert_eq!(tree.difference(&platter.tree(b"build").expect("there")), None);
        platter.rot(|path| path == b"build/large0").expect("rotten");
        assert!(
            tree.difference(&platter.tree(b"build").expect("there")).is_some_and(|why| why.contains("other bytes"))
        );
    }

    #[test]
    fn the_next_version_is_another_tree() {
        let mut dice = Dice::new(5);
        let tree = Tree::draw(&mut dice, 200_000);
        assert_ne!(tree.next_version(&mut dice), tree);
    }
}
