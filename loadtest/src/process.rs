//! What the kernel counts of a process, or of a process with all that it started: CPU time,
//! user and system, and memory. CPU time has the unit of the clock tick, 10 ms, so measure
//! over seconds.

use crate::Result;
use std::collections::BTreeMap;
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

/// One process as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Listed {
    parent: u32,
    /// Its own CPU time, and that of children that ended.
    used: Duration,
}

/// Returns the CPU time that a process has used, with all processes below it.
pub(crate) fn used_tree(root: u32) -> Result<Duration> {
    let all = listed()?;
    let below = tree(&all, root)?;
    Ok(below.iter().map(|pid| all[pid].used).sum())
}

/// Returns the memory in MB of a process and all below it; pages that some of them share
/// count once.
pub(crate) fn memory_tree_mb(root: u32) -> Result<f64> {
    let mut sum = 0.0;
    for pid in tree(&listed()?, root)? {
        // A child may have ended meanwhile.
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        sum += rollup.map_or(Ok(0.0), |text| parse_mb(&text, "Pss:"))?;
    }
    Ok(sum)
}

/// Every process of the machine.
fn listed() -> Result<BTreeMap<u32, Listed>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            all.insert(pid, parse_listed(&stat)?);
        }
    }
    Ok(all)
}

fn parse_listed(stat: &str) -> Result<Listed> {
    let (_, rest) = stat.rsplit_once(')').ok_or("a stat line without a name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| -> Result<u32> {
        let text = fields.get(at).ok_or("a short stat line")?;
        Ok(text.parse()?)
    };
    let ticks = field(11)? + field(12)? + field(13)? + field(14)?;
    Ok(Listed {
        parent: field(1)?,
        used: TICK * ticks,
    })
}

/// A process and all below it.
fn tree(all: &BTreeMap<u32, Listed>, root: u32) -> Result<Vec<u32>> {
    if !all.contains_key(&root) {
        return Err(format!("there is no process {root}").into());
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = all.iter().filter(|(_, listed)| listed.parent == parent);
        found.extend(children.map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(found)
}

/// Returns the cores that this process may run on.
pub(crate) fn allowed_cores() -> Result<Vec<usize>> {
    parse_cores(&std::fs::read_to_string("/proc/self/status")?)
}

fn parse_cores(status: &str) -> Result<Vec<usize>> {
    let list = status
        .lines()
        .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    let list = list.ok_or("a status without Cpus_allowed_list")?.trim();
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores.extend(first.parse::<usize>()?..=last.parse()?);
    }
    Ok(cores)
}

/// Returns the resident memory of `process` in MB (10^6 bytes).
pub(crate) fn resident_mb(process: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    parse_mb(&status, "VmRSS:")
}

/// Reads the line of a key in kB, as MB.
fn parse_mb(text: &str, key: &str) -> Result<f64> {
    let line = text.lines().find_map(|l| l.strip_prefix(key));
    let line = line.ok_or_else(|| format!("there is no line {key}"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_megabytes() {
        let status = "Name:\tx\nVmRSS:\t   15625 kB\nThreads: 1\n";
        assert_eq!(parse_mb(status, "VmRSS:").unwrap(), 16.0);
        assert!(parse_mb("Name:\tx\n", "VmRSS:").is_err());
    }

    #[test]
    fn user_and_system_ticks_are_added_after_any_name() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 90 0 0 0 250 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(parse(line).unwrap(), Duration::from_secs(3));
    }

    #[test]
    fn children_count_with_those_that_ended() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 90 0 0 0 250 50 60 40 20 0 4 0 100 0 0";
        let root = parse_listed(line).unwrap();
        assert_eq!((root.parent, root.used), (1, Duration::from_secs(4)));
        let child = |parent| Listed { parent, ..root };
        let all = BTreeMap::from([(7, root), (3, child(9)), (9, child(7)), (5, child(1))]);
        assert_eq!(tree(&all, 7).unwrap(), [7, 9, 3]);
        assert!(tree(&all, 8).is_err());
    }

    #[test]
    fn work_of_a_child_is_in_the_tree() {
        let own = std::process::id();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read end"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let with = tree(&listed().unwrap(), own).unwrap();
        assert!(with.contains(&child.id()), "{with:?}");
        assert!(memory_tree_mb(own).unwrap() > memory_tree_mb(child.id()).unwrap());
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn cores_are_read_as_ranges() {
        let status = "Cpus_allowed:\tf\nCpus_allowed_list:\t0,2-4,7\n";
        assert_eq!(parse_cores(status).unwrap(), [0, 2, 3, 4, 7]);
        assert!(!allowed_cores().unwrap().is_empty());
    }

    #[test]
    fn short_line_is_refused() {
        assert!(parse("7 (a) S 1").is_err());
    }
}
