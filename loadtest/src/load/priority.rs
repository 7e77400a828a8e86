//! The priority of the calling thread, raised while an open loop runs so that
//! requests are sent when they are due, on busy cores too. Only a privileged user may raise it; for
//! others nothing changes.

use rustix::process::{getpriority_process, setpriority_process};
use std::process::{Command, Stdio};

/// Above every program that did not ask for more.
const NICE: i32 = -10;

/// The former priority of a thread, which comes back on drop.
pub(super) struct Raised {
    former: Option<i32>,
    /// The number of the thread, where it is scheduled before all usual ones.
    real_time: Option<String>,
}

impl Raised {
    /// Raises the priority of the calling thread; threads that it starts inherit it. Where a busy core
    /// would let even a thread of high priority wait for milliseconds, the first real-time
    /// priority does not.
    pub(super) fn new() -> Self {
        let former = getpriority_process(None).ok();
        let raised = former.and_then(|_| setpriority_process(None, NICE).ok());
        let thread = thread_number().filter(|thread| schedule("--fifo", "1", thread));
        Self {
            former: former.filter(|_| raised.is_some()),
            real_time: thread,
        }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        // Lowering it again needs no privilege.
        if let Some(thread) = &self.real_time {
            schedule("--other", "0", thread);
        }
        if let Some(former) = self.former {
            let _ = setpriority_process(None, former);
        }
    }
}

/// The number of the calling thread.
fn thread_number() -> Option<String> {
    let link = std::fs::read_link("/proc/thread-self").ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}

/// Sets the scheduling of a thread with the program of util-linux. Returns whether that succeeded.
fn schedule(policy: &str, priority: &str, thread: &str) -> bool {
    let mut program = Command::new("chrt");
    program.args([policy, "--pid", priority, thread]);
    let program = program.stdout(Stdio::null()).stderr(Stdio::null());
    program.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scheduling policy of the calling thread, as the kernel shows it.
    fn policy() -> String {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(38).unwrap().to_owned()
    }

    #[test]
    fn priority_is_the_former_one_afterwards() {
        let before = (getpriority_process(None).unwrap(), policy());
        assert_eq!(before.1, "0");
        let raised = Raised::new();
        let is_real_time = raised.real_time.is_some();
        assert_eq!(policy() == "1", is_real_time);
        drop(raised);
        assert_eq!((getpriority_process(None).unwrap(), policy()), before);
    }
}
