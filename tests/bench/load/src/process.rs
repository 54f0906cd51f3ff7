//! What the kernel counts of the processes under load.

use std::fs;

/// CPU time of all threads of these processes, in nanoseconds (`schedstat`: no clock ticks in between).
pub(crate) fn cpu_ns(pids: &[u32]) -> u64 {
    let thread = |path: std::path::PathBuf| -> Option<u64> {
        fs::read_to_string(path.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
    };
    let process = |pid: &u32| -> u64 {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        threads.filter_map(|entry| thread(entry.path())).sum()
    };
    pids.iter().map(process).sum()
}

fn kilobytes(pids: &[u32], file: &str, key: &str) -> u64 {
    let of = |pid: &u32| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
    };
    pids.iter().filter_map(of).sum()
}

/// Their share of memory (PSS), in kB.
pub(crate) fn pss_kb(pids: &[u32]) -> u64 {
    kilobytes(pids, "smaps_rollup", "Pss:")
}

/// Their resident memory, in kB.
pub(crate) fn rss_kb(pids: &[u32]) -> u64 {
    kilobytes(pids, "status", "VmRSS:")
}

/// How often they went to sleep by themselves: wake-ups.
pub(crate) fn sleeps(pids: &[u32]) -> u64 {
    let thread = |path: std::path::PathBuf| -> Option<u64> {
        let text = fs::read_to_string(path.join("status")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
    };
    let process = |pid: &u32| -> u64 {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        threads.filter_map(|entry| thread(entry.path())).sum()
    };
    pids.iter().map(process).sum()
}

/// What the machine's host took from all its processors, in milliseconds (`/proc/stat`, in ticks of 10 ms).
pub(crate) fn stolen_ms() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let steal = text.lines().next().and_then(|line| line.split_whitespace().nth(8)?.parse::<u64>().ok());
    steal.unwrap_or(0) * 10
}
