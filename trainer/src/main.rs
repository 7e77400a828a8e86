//! `ortus-trainer` turns data into a version that servers follow. This file is
//! the map, in reading order: a group imports only itself and the groups above
//! it, and no two files import each other.

// Foundations: columns in memory, names of tensors, statistics, files.
mod features;
mod frame;
mod interval;
mod lease;
mod listen;
mod mlflow;
mod ndcg;
mod proto;
mod random;
mod scratch;
mod tensors;
mod values;

// Input: the specification (`train.toml`), the dataset and its split.
mod data;
mod spec;
mod split;

// Training: the algorithms, the fitted model and its ONNX graph.
mod calibration;
mod explanation;
mod export;
mod fit;
mod learn;
mod model;

// Evaluation: predictions of a graph, parity, gates, the evidence page.
mod command;
mod evidence;
mod example;
mod fitted_model;
mod gate;
mod guess;
mod judge;
mod package;
mod page;
mod parity;
mod record;

// Records: what is kept of runs, and when a run is due.
mod checkpoint;
mod event_key;
mod experiments;
mod history;
mod pins;
mod trigger;

// Runs: the pipeline from data to a version, once or again and again.
mod companion;
mod context;
mod evaluation;
mod init;
mod pipeline;
mod recorded_run;
mod sweep;
mod watch;

// The command line.
mod cli;
mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: the first statement of the program; no other thread exists yet.
    // ONNX Runtime reads the variable when its library is loaded.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    // Blocks of columns go back to the system when they are freed: kept for later, they lie between others and are seldom
    // used again.
    // SAFETY: mallopt takes no pointer.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
        // Smaller blocks are used again soon.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 16 << 20);
    }
    cli::main(std::env::args_os())
}
