//! The priority of the calling thread, raised while an open loop runs so that
//! requests are sent when they are due. Only a privileged user may raise it; for
//! others nothing changes.

use rustix::process::{getpriority_process, setpriority_process};

/// Above every program that did not ask for more.
const NICE: i32 = -10;

/// The former priority of a thread, which comes back on drop.
pub(super) struct Raised {
    former: Option<i32>,
}

impl Raised {
    /// Raises the priority of the calling thread; threads that it starts inherit it.
    pub(super) fn new() -> Self {
        let former = getpriority_process(None).ok();
        let raised = former.and_then(|_| setpriority_process(None, NICE).ok());
        Self {
            former: former.filter(|_| raised.is_some()),
        }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        if let Some(former) = self.former {
            // Lowering it again needs no privilege.
            let _ = setpriority_process(None, former);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_is_the_former_one_afterwards() {
        let before = getpriority_process(None).unwrap();
        drop(Raised::new());
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
