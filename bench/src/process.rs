//! What processes cost, as the kernel accounts for it (proc(5)).

use std::fs;

/// Clock ticks per second of `/proc/PID/stat` on Linux (`USER_HZ`, fixed for user space).
const TICKS: f64 = 100.0;

/// User and system time of a living process, in seconds; `None` when it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = stat_fields(pid)?;
    Some((stat.get(11)?.parse::<f64>().ok()? + stat.get(12)?.parse::<f64>().ok()?) / TICKS)
}

/// User and system time of this process's children that were waited for, in seconds.
pub(crate) fn waited_children_cpu_seconds() -> Option<f64> {
    let stat = stat_fields(std::process::id())?;
    Some((stat.get(13)?.parse::<f64>().ok()? + stat.get(14)?.parse::<f64>().ok()?) / TICKS)
}

/// The fields of `/proc/PID/stat` after the command's name, which may contain anything: field 3 is index 0.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &stat[stat.rfind(')')? + 2..];
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// Resident memory now and at its highest, in KiB.
pub(crate) fn memory_kib(pid: u32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok())
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

/// Living processes whose command line mentions `text`, this one not among them.
pub(crate) fn mentioning(text: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    (entries.flatten())
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|&pid| pid != std::process::id())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_has_used_time() {
        let (now, peak) = memory_kib(std::process::id()).expect("it lives");
        assert!(now > 100 && peak >= now, "{now} {peak}");
        assert!(cpu_seconds(std::process::id()).is_some_and(|seconds| seconds < 3600.0));
    }
}
