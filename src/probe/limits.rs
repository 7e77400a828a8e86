//! What a probing process may use, set by itself before it touches the model.
//! With runtime/ the only place of `unsafe` outside `main`.

use crate::error::{Error, Result};

/// Ends with the parent, leaves no core, opens few files, and is bound in
/// address space (0: not) and in CPU seconds.
pub(super) fn set(parent: u32, memory_bytes: u64, cpu_seconds: u64) -> Result<()> {
    let failed =
        |what: &str| Error::internal(format!("limit {what} of a probe")).with_source(std::io::Error::last_os_error());
    // SAFETY: prctl with PR_SET_PDEATHSIG takes a number and no pointer.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(failed("the life"));
    }
    // The parent may have ended before the line above.
    if std::os::unix::process::parent_id() != parent {
        return Err(Error::unavailable("the server that asked is gone"));
    }
    let mut all = vec![(libc::RLIMIT_CORE, 0), (libc::RLIMIT_NOFILE, 64), (libc::RLIMIT_CPU, cpu_seconds)];
    if memory_bytes > 0 {
        all.push((libc::RLIMIT_AS, memory_bytes));
    }
    for (resource, limit) in all {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: the pointer is to a value on this stack, read only in the call.
        if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
            return Err(failed("the resources"));
        }
    }
    Ok(())
}
