//! What the storm took: shares of sorted times, and what processes cost as the kernel accounts for it (proc(5)).

use std::fs;
use std::ops::Add;

/// The time after which so many thousandths were there, in seconds.
pub(crate) fn share(sorted: &[u64], thousandths: usize) -> f64 {
    let at = (sorted.len() * thousandths).div_ceil(1000).saturating_sub(1);
    sorted.get(at).map_or(f64::NAN, |&ms| ms as f64 / 1000.0)
}

/// Half, 99 in 100 and the last, in words.
pub(crate) fn shares(mut times: Vec<u64>) -> String {
    times.sort_unstable();
    let [half, most, last] = [500, 990, 1000].map(|thousandths| share(&times, thousandths));
    format!("p50 {half:.2} s, p99 {most:.2} s, last {last:.2} s")
}

/// What a process costs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// User and system time, in seconds.
    pub(crate) cpu: f64,
    /// Memory now and at its highest, in MiB.
    pub(crate) memory: u64,
    pub(crate) peak: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
}

impl Cost {
    /// Of a process that lives; nothing of one that does not.
    pub(crate) fn of(pid: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let (stat, status) = (read("stat"), read("status"));
        // Field 3 is the first after the command's name, which may contain anything; time is in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
        };
        Self {
            cpu: (ticks(11) + ticks(12)) / 100.0,
            memory: field("VmRSS:") / 1024,
            peak: field("VmHWM:") / 1024,
            threads: field("Threads:"),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count) as u64,
        }
    }

    /// Of a process and of all that it began.
    pub(crate) fn of_all(pid: u32) -> Self {
        children(pid).into_iter().map(Self::of_all).fold(Self::of(pid), |sum, cost| sum + cost)
    }
}

/// The processes that a process began.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let told = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    told.flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            memory: self.memory + other.memory,
            peak: self.peak + other.peak,
            threads: self.threads + other.threads,
            descriptors: self.descriptors + other.descriptors,
        }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpu, memory, peak, threads, descriptors } = self;
        write!(f, "CPU {cpu:.1} s, memory {memory} MiB (peak {peak}), {threads} threads, {descriptors} descriptors")
    }
}
