//! How long a server takes from its start to its ready line, and the memory it
//! then holds. Each round is a fresh process.

use crate::compare::median;
use crate::server::Server;
use crate::{Result, cpu};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args)]
pub(crate) struct Start {
    /// The ortus program.
    #[arg(long, value_name = "BIN")]
    ortus: PathBuf,
    /// The model directory to serve from.
    #[arg(long, value_name = "DIR")]
    models: PathBuf,
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// The ONNX Runtime library [default: what ortus finds].
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

/// Starts the server again and again; prints a JSON line each, then medians.
pub(crate) fn run(arguments: &Start) -> Result<()> {
    let (mut times, mut sizes, mut spent) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds.max(1) {
        let start = Instant::now();
        let server = Server::ortus(
            &arguments.ortus,
            &arguments.models,
            arguments.library.as_deref(),
        )?;
        let ready_ms = start.elapsed().as_secs_f64() * 1e3;
        let pid = server.pid().to_string();
        let rss_mb = resident(&std::fs::read_to_string(format!("/proc/{pid}/status"))?)?;
        let cpu_ms = cpu::used(&pid)?.as_secs_f64() * 1e3;
        println!(
            "{}",
            json!({"round": round, "ready_ms": ready_ms, "rss_mb": rss_mb, "cpu_ms": cpu_ms})
        );
        times.push(ready_ms);
        sizes.push(rss_mb);
        spent.push(cpu_ms);
    }
    println!(
        "{}",
        json!({"ready_ms": median(times), "rss_mb": median(sizes), "cpu_ms": median(spent)})
    );
    Ok(())
}

/// Resident memory in MB (10^6 bytes), from a process's status.
fn resident(status: &str) -> Result<f64> {
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .ok_or("a status without VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_megabytes() {
        assert_eq!(
            resident("Name:\tx\nVmRSS:\t   15625 kB\nThreads: 1\n").unwrap(),
            16.0
        );
        assert!(resident("Name:\tx\n").is_err());
    }
}
