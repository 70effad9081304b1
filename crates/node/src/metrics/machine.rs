//! What is said of the machine and the process: memory, time, descriptors, disk, certificates. Looked at when somebody asks; what cannot
//! be read is not said.

use crate::home;
use crate::life::Life;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the size of the store is believed.
const STORE_LASTS: Duration = Duration::from_secs(60);
/// Files that are looked at for it at most.
const MOST_FILES: usize = 100_000;

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub(crate) cpu_seconds: f64,
    pub(crate) memory: Option<u64>,
    pub(crate) descriptors: Option<u64>,
    pub(crate) most_descriptors: Option<u64>,
    pub(crate) disk: Option<Disk>,
    pub(crate) store: Option<u64>,
    /// When the certificates end, of the node and of the CA, in seconds since 1970.
    pub(crate) ends: Vec<u64>,
}

/// A file system.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Disk {
    pub(crate) free: u64,
    pub(crate) size: u64,
    pub(crate) free_inodes: u64,
    pub(crate) inodes: u64,
}

/// The size of the store, and when it was looked at.
pub(crate) type LastStore = Option<(Instant, Option<u64>)>;

impl Machine {
    /// Looks. It reads files, and belongs on a thread that may wait.
    pub(crate) fn look(home: &Path, last: &mut LastStore) -> Self {
        Self {
            cpu_seconds: cpu_seconds(),
            memory: memory(),
            // The directory that is read is one of them, for that moment.
            descriptors: fs::read_dir("/proc/self/fd").ok().map(|open| (open.count() as u64).saturating_sub(1)),
            most_descriptors: getrlimit(Resource::Nofile).current,
            disk: disk(home),
            store: store(home, last),
            ends: ends(home),
        }
    }
}

fn cpu_seconds() -> f64 {
    let taken = clock_gettime(ClockId::ProcessCPUTime);
    taken.tv_sec as f64 + taken.tv_nsec as f64 / 1e9
}

fn memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn disk(home: &Path) -> Option<Disk> {
    let found = rustix::fs::statvfs(home).ok()?;
    Some(Disk {
        free: found.f_bavail * found.f_frsize,
        size: found.f_blocks * found.f_frsize,
        free_inodes: found.f_favail,
        inodes: found.f_files,
    })
}

fn store(home: &Path, last: &mut LastStore) -> Option<u64> {
    let is_old = last.as_ref().is_none_or(|(at, _)| at.elapsed() > STORE_LASTS);
    if is_old {
        *last = Some((Instant::now(), size_below(&home::store(home), MOST_FILES)));
    }
    last.as_ref().and_then(|(_, size)| *size)
}

/// What the files below a directory take; nothing when there are more than so many. Files come and go meanwhile.
fn size_below(directory: &Path, most: usize) -> Option<u64> {
    let (mut waiting, mut size, mut seen) = (vec![directory.to_owned()], 0, 0);
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            seen += 1;
            if seen > most {
                return None;
            }
            match entry.metadata() {
                Ok(found) if found.is_dir() => waiting.push(entry.path()),
                Ok(found) => size += found.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    Some(size)
}

fn ends(home: &Path) -> Vec<u64> {
    let path = home::identity(home).join(home::CERTIFICATE);
    let Ok(chain) = CertificateDer::pem_file_iter(path) else { return Vec::new() };
    chain.flatten().take(2).filter_map(|certificate| Life::of(&certificate).ok()).map(|life| life.ends().0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_time_and_descriptors() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let machine = Machine::look(home.path(), &mut None);
        assert!(machine.memory.is_some_and(|bytes| bytes > 1 << 20) && machine.cpu_seconds > 0.0, "{machine:?}");
        assert!(machine.descriptors.is_some_and(|open| open >= 3), "{machine:?}");
        assert!(machine.disk.is_some_and(|disk| disk.free > 0 && disk.size >= disk.free), "{machine:?}");
        assert!(machine.ends.is_empty(), "there is no certificate");
    }

    #[test]
    fn the_store_is_what_its_files_take_and_unknown_when_they_are_many() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let below = home::store(home.path()).join("deep");
        fs::create_dir_all(&below).expect("made");
        (0..3).for_each(|n| fs::write(below.join(format!("{n}")), vec![7; 10_000]).expect("written"));
        let size = size_below(&home::store(home.path()), 10).expect("few files");
        assert!((30_000..100_000).contains(&size), "{size}");
        assert_eq!(size_below(&home::store(home.path()), 3), None);
        let mut last = None;
        assert_eq!(store(home.path(), &mut last), Some(size));
        fs::write(below.join("more"), vec![7; 10_000]).expect("written");
        assert_eq!(store(home.path(), &mut last), Some(size), "it is looked at once a minute");
    }
}
