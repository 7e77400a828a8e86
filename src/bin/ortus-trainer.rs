//! The trainer and its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: the first statement of the program; no other thread exists yet.
    // ONNX Runtime reads the variable when its library is loaded.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    ortus::cli::trainer::main(std::env::args_os())
}
