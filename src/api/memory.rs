//! How much memory this process may use, as the kernel reports it, and the setting that is a
//! quarter of it. Reads files of the kernel and keeps nothing.

use toml::Value;

use crate::core::settings::form::{Form, Size};

/// The quarter that is assumed if the kernel reports no size.
const UNKNOWN_BYTES: usize = 1 << 30;
/// Smallest quarter: one message of the default limit must fit.
const BYTES_MIN: usize = 64 << 20;

/// A size of which 0 stands for a quarter of this machine's memory.
pub(crate) struct MemoryShare;

impl Form<usize> for MemoryShare {
    fn read(value: &Value) -> Result<usize, String> {
        let bytes = <Size as Form<usize>>::read(value)?;
        Ok(if bytes == 0 { quarter() } else { bytes })
    }

    fn write(setting: &usize) -> Option<Value> {
        <Size as Form<usize>>::write(setting)
    }

    fn text(setting: &usize) -> Option<String> {
        if *setting == quarter() {
            return Some("0".into());
        }
        <Size as Form<usize>>::text(setting)
    }
}

/// Returns a quarter, in bytes, of this machine's memory or of the control
/// group's limit, whichever is less; at least 64 MiB.
pub(crate) fn quarter() -> usize {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    share(&read("/proc/meminfo"), &read("/sys/fs/cgroup/memory.max"))
}

/// Computes the quarter from the texts of `/proc/meminfo` and `memory.max`.
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
