//! How much memory this process may use, as the kernel tells it.

/// The share assumed where the kernel tells nothing.
const UNKNOWN_BYTES: usize = 1 << 30;
/// The least share, so that one message of the default limit is accepted.
const BYTES_MIN: usize = 64 << 20;

/// Returns a quarter, in bytes, of this machine's memory or of the control
/// group's limit, whichever is less; at least 64 MiB.
pub(crate) fn quarter() -> usize {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    share(&read("/proc/meminfo"), &read("/sys/fs/cgroup/memory.max"))
}

/// Decides the share from the texts of `/proc/meminfo` and `memory.max`.
pub(crate) fn share(meminfo: &str, group: &str) -> usize {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"));
    let total = total
        .and_then(|kib| kib.trim().parse::<usize>().ok())
        .and_then(|kib| kib.checked_mul(1024));
    let group = group.trim().parse::<usize>().ok();
    let least = total.into_iter().chain(group).min();
    least
        .map_or(UNKNOWN_BYTES, |bytes| bytes / 4)
        .max(BYTES_MIN)
}
