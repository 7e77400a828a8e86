//! Limits of a process on memory, CPU time, open files and file size, and the
//! signal that ends it together with its parent. Does not start, watch or end
//! processes.

use crate::core::error::{Error, Result};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, getpid, getppid, getrlimit, nice,
    set_child_subreaper, set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};
use std::{io, os::unix::process::CommandExt, process::Command};

/// File descriptors that a limited process may have open.
const OPEN_FILES_MAX: u64 = 64;

/// File descriptors that a server raises its own limit to.
const OPEN_FILES_WANTED: u64 = 1 << 20;

/// The limits that a process sets on itself before it runs untrusted input.
pub(crate) struct OwnLimits {
    /// The process that started this one; this one ends with it.
    pub parent: u32,
    /// Address space, in bytes; 0 sets no limit.
    pub memory_bytes: u64,
    /// CPU time over all threads.
    pub cpu_seconds: u64,
}

impl OwnLimits {
    /// Applies the limits to the current process, which can never raise them
    /// again: it also leaves no core file, and few files stay open.
    pub(crate) fn apply(&self) -> Result<()> {
        end_with_parent().map_err(|e| failed("end with the parent process", e))?;
        // The parent may have ended before the line above took effect.
        if getppid() != Pid::from_raw(self.parent.cast_signed()) {
            return Err(Error::unavailable("the parent process has ended"));
        }

        let limits = [
            (Resource::Core, 0),
            (Resource::Nofile, OPEN_FILES_MAX),
            (Resource::Cpu, self.cpu_seconds),
        ];

        set_limits(&limits).map_err(|e| failed("limit resources", e))?;
        if self.memory_bytes > 0 {
            set_limits(&[(Resource::As, self.memory_bytes)])
                .map_err(|e| failed("limit memory", e))?;
        }

        Ok(())
    }
}

/// Lets this process open as many files and connections as it may. Returns how many that is; none if it cannot be
/// told.
pub(crate) fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.unwrap_or(OPEN_FILES_WANTED).min(OPEN_FILES_WANTED);
    if current? < most {
        let raised = Rlimit {
            current: Some(most),
            maximum,
        };
        setrlimit(Resource::Nofile, raised).ok()?;
    }
    Some(most.max(current?))
}

/// Lets every other process run first.
pub(crate) fn yield_to_others() {
    // At the usual priority it would be done sooner, and nothing else would change.
    let _ = nice(19);
}

/// Ends this process without the destructors of its libraries, which other threads may be using.
pub(crate) fn end_at_once(code: i32) -> ! {
    use std::io::Write;
    let _ = io::stdout().flush();
    // SAFETY: it takes no pointer and returns to nobody.
    unsafe { libc::_exit(code) }
}

/// Limits a program that is about to be started, and everything that it
/// starts, in address space and in the size of a file. It leaves no core file
/// and ends with this process.
pub fn limit_command(command: &mut Command, memory_bytes: u64, file_bytes: u64) {
    let before_exec = move || {
        end_with_parent()?;
        set_limits(&[
            (Resource::Core, 0),
            (Resource::As, memory_bytes),
            (Resource::Fsize, file_bytes),
        ])
    };

    // SAFETY: between fork and exec it makes system calls only; nothing is
    // allocated, and no lock is taken.
    unsafe { command.pre_exec(before_exec) };
}

/// Keeps other processes of the same user from reading the memory and the
/// environment of this one.
pub fn hide() {
    // If the kernel refuses, the process stays as it was; nothing else can be done.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Makes this process the parent of every descendant whose own parent ends, so
/// that [`super::tree`] still finds it.
pub fn adopt_orphans() -> Result<()> {
    set_child_subreaper(Some(getpid())).map_err(|e| failed("adopt orphaned processes", e.into()))
}

fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

fn set_limits(limits: &[(Resource, u64)]) -> io::Result<()> {
    for &(resource, limit) in limits {
        let both = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(resource, both)?;
    }

    Ok(())
}

fn failed(what: &str, source: io::Error) -> Error {
    Error::internal(format!("cannot {what} in a sandboxed process")).with_source(source)
}
