//! The child processes of this one and their children: finds, kills and reaps them. Does not know
//! what they are for.

#[cfg(test)]
mod tests;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Interval between two searches for processes that are left.
const CHECK: Duration = Duration::from_millis(1);

/// A process as `/proc` shows it.
struct Process {
    id: i32,
    parent: i32,
    is_zombie: bool,
}

/// Kills every process below this one until none is left or `timeout` is over,
/// and returns how many were killed. [`super::limits::adopt_orphans`] must have
/// been called before, or processes whose parent ended are missed.
pub fn kill_descendants(timeout: Duration) -> usize {
    let until = Instant::now() + timeout;
    let mut killed = BTreeSet::new();

    loop {
        for process in descendants(getpid()) {
            // A process that has ended meanwhile is not an error.
            let _ = kill_process(process, Signal::KILL);
            killed.insert(process.as_raw_nonzero());
        }

        // Children of a killed process become children of this one, and are found in the next
        // round.
        let has_children = wait(WaitOptions::NOHANG).is_ok();
        if !has_children || Instant::now() > until {
            return killed.len();
        }
        std::thread::sleep(CHECK);
    }
}

/// Lists the processes below `root`, zombie processes excluded.
fn descendants(root: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in processes() {
        children.entry(process.parent).or_default().push(process);
    }

    let mut found = Vec::new();
    let mut pending = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = pending.pop() {
        for process in children.remove(&parent).unwrap_or_default() {
            pending.push(process.id);
            found.extend(Pid::from_raw(process.id).filter(|_| !process.is_zombie));
        }
    }

    found
}

fn processes() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        parse_stat(id, &stat)
    })
}

/// Reads state and parent from `/proc/<id>/stat`.
fn parse_stat(id: i32, stat: &str) -> Option<Process> {
    // The name in parentheses may hold anything, also parentheses; what follows it does not.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();

    let is_zombie = fields.next()? == "Z";
    let parent = fields.next()?.parse().ok()?;
    Some(Process {
        id,
        parent,
        is_zombie,
    })
}
