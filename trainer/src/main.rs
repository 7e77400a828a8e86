//! `ortus-trainer` turns data into a version that servers follow. This file is
//! the map, in reading order: each module imports only modules above it.

mod attempt;
mod candidate;
mod cli;
mod command;
mod companion;
mod data;
mod demo;
mod evidence;
mod export;
mod features;
mod fit;
mod frame;
mod gate;
mod history;
mod init;
mod interval;
mod judge;
mod learn;
mod lease;
mod listen;
mod mlflow;
mod model;
mod package;
mod page;
mod parity;
mod pipeline;
mod proto;
mod referee;
mod scratch;
mod spec;
mod split;
mod steps;
mod sweep;
mod trigger;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: the first statement of the program; no other thread exists yet.
    // ONNX Runtime reads the variable when its library is loaded.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    cli::main(std::env::args_os())
}
