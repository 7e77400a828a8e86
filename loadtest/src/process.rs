//! What the kernel counts of a process: its CPU time, user and system, and its
//! memory. CPU time has the unit of the clock tick, 10 ms, so measure over seconds.

use crate::Result;
use std::time::Duration;

/// Linux reports in hundredths of a second on every machine we measure on.
const TICK: Duration = Duration::from_millis(10);

/// Returns the CPU time that `process` (a process id or `self`) has used.
pub(crate) fn used(process: &str) -> Result<Duration> {
    parse(&std::fs::read_to_string(format!("/proc/{process}/stat"))?)
}

fn parse(stat: &str) -> Result<Duration> {
    // The second field is a name in brackets and may itself hold spaces.
    let (_, rest) = stat.rsplit_once(')').ok_or("a stat line without a name")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || -> Result<u32> { Ok(fields.next().ok_or("a short stat line")?.parse()?) };
    Ok(TICK * (ticks()? + ticks()?))
}

/// Returns the resident memory of `process` in MB (10^6 bytes).
pub(crate) fn resident_mb(process: &str) -> Result<f64> {
    parse_resident(&std::fs::read_to_string(format!("/proc/{process}/status"))?)
}

fn parse_resident(status: &str) -> Result<f64> {
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .ok_or("a status without VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_megabytes() {
        let status = "Name:\tx\nVmRSS:\t   15625 kB\nThreads: 1\n";
        assert_eq!(parse_resident(status).unwrap(), 16.0);
        assert!(parse_resident("Name:\tx\n").is_err());
    }

    #[test]
    fn user_and_system_ticks_are_added_after_any_name() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 90 0 0 0 250 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(parse(line).unwrap(), Duration::from_secs(3));
    }

    #[test]
    fn short_line_is_refused() {
        assert!(parse("7 (a) S 1").is_err());
    }
}
