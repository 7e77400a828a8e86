//! Ends the process at once. Decides neither when nor with which exit code.

use std::io::Write;

/// Ends the process without running destructors of the process and of its libraries.
///
/// A model may be loading or running at this moment, on a thread that cannot be interrupted. The
/// ordinary end of a process destroys the static objects of ONNX Runtime, which that thread still
/// uses: it would crash, or the process would wait for a load that takes minutes. The log is not
/// buffered, and standard output is flushed here, so no line is lost. Processes of the sandbox end
/// with this one.
pub(crate) fn end_process(code: u8) -> ! {
    // Whoever reads standard output may be gone.
    let _ = std::io::stdout().flush();

    // SAFETY: takes no pointer, and never returns.
    unsafe { libc::_exit(i32::from(code)) }
}
