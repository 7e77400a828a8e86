//! What a process that runs what others made may use, set by itself before it
//! begins, and how it ends whatever it started. With runtime/ the only place of
//! `unsafe` outside `main`.

use crate::core::error::{Error, Result};
use std::{os::unix::process::CommandExt, process::Command};

/// Ends with the parent, leaves no core, opens few files, and is bound in
/// address space (0: not) and in CPU seconds.
pub(crate) fn set(parent: u32, memory_bytes: u64, cpu_seconds: u64) -> Result<()> {
    let failed = |what: &str| {
        Error::internal(format!("limit {what} of a probe"))
            .with_source(std::io::Error::last_os_error())
    };
    // SAFETY: prctl with PR_SET_PDEATHSIG takes a number and no pointer.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(failed("the life"));
    }
    // The parent may have ended before the line above.
    if std::os::unix::process::parent_id() != parent {
        return Err(Error::unavailable("the server that asked is gone"));
    }
    let mut all = vec![
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_NOFILE, 64),
        (libc::RLIMIT_CPU, cpu_seconds),
    ];
    if memory_bytes > 0 {
        all.push((libc::RLIMIT_AS, memory_bytes));
    }
    limit(all).map_err(|e| Error::internal("limit the resources of a probe").with_source(e))
}

/// Bounds a program that is about to be started, and all that it starts, in
/// address space and in the size of a file; it leaves no core, and ends with us.
pub fn bound(command: &mut Command, memory_bytes: u64, file_bytes: u64) {
    let before = move || {
        // SAFETY: prctl with PR_SET_PDEATHSIG takes a number and no pointer.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        limit([
            (libc::RLIMIT_CORE, 0),
            (libc::RLIMIT_AS, memory_bytes),
            (libc::RLIMIT_FSIZE, file_bytes),
        ])
    };
    // SAFETY: between fork and exec it makes system calls only; nothing is
    // allocated, and no lock is taken.
    unsafe { command.pre_exec(before) };
}

fn limit(all: impl IntoIterator<Item = (libc::__rlimit_resource_t, u64)>) -> std::io::Result<()> {
    for (resource, limit) in all {
        let limit = libc::rlimit {
            rlim_cur: limit,
            rlim_max: limit,
        };
        // SAFETY: the pointer is to a value on this stack, read only in the call.
        if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Keeps other processes of the same user from reading this one's memory and
/// environment.
pub fn hide() {
    // SAFETY: prctl with PR_SET_DUMPABLE takes a number and no pointer.
    let _ = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
}

/// Makes this process the parent of whatever is left below it when its parent
/// ends, so that nothing gets out of reach.
pub fn adopt() -> Result<()> {
    // SAFETY: prctl with PR_SET_CHILD_SUBREAPER takes a number and no pointer.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } != 0 {
        return Err(Error::internal("adopt processes").with_source(std::io::Error::last_os_error()));
    }
    Ok(())
}

/// Ends a process at once. One that is gone is no error.
pub fn end(process: i32) {
    // SAFETY: kill takes numbers and no pointer; a positive number names one process.
    let _ = unsafe { libc::kill(process.max(1), libc::SIGKILL) };
}

/// Takes leave of a child that ended; false where there is no child any more.
pub fn reap() -> bool {
    // SAFETY: a null pointer for the status is allowed.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) >= 0 }
}
