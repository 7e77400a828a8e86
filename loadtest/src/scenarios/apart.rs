//! Loads in which generator and server have cores of their own, as two machines have: else the generator
//! is late because the server is busy, or takes from the server what it is measured by.

use super::bench::Bench;
use super::side::Side;
use super::steady::doubt;
use crate::Result;
use crate::load::Report;
use crate::process;
use crate::schedule::Arrivals;
use crate::servers::Server;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A run in which the generator was late is made again, so often in all.
const TRIES: usize = 3;

/// A server on all cores but the last, which this process has meanwhile. Where there is only one core, they
/// share it.
pub(super) struct Apart {
    pub server: Server,
    /// The server's cores, where it has not all.
    pub cores: Option<Vec<usize>>,
    _generator: Option<OwnCores>,
}

impl Apart {
    pub(super) fn serve(bench: &Bench<'_>, models: &[&str], settings: &[&str]) -> Result<Self> {
        let cores = process::allowed_cores()?;
        let mut ortus = bench.ortus(models, settings)?;
        let mut generator = None;
        if let [server @ .., last] = &cores[..]
            && !server.is_empty()
        {
            ortus.cores = Some(server.to_vec());
            generator = Some((vec![*last], cores.clone()));
        }
        let server = Server::ortus(&ortus)?;
        let cores = ortus.cores.take();
        let generator = generator.map(|(own, all)| OwnCores::take(&own, all));
        Ok(Self {
            server,
            cores,
            _generator: generator.transpose()?,
        })
    }
}

/// This process on other cores, until it is dropped.
struct OwnCores {
    former: Vec<usize>,
}

impl OwnCores {
    fn take(own: &[usize], former: Vec<usize>) -> Result<Self> {
        move_to(own)?;
        Ok(Self { former })
    }
}

impl Drop for OwnCores {
    fn drop(&mut self) {
        if let Err(error) = move_to(&self.former) {
            eprintln!("this process cannot have its former cores: {error}");
        }
    }
}

/// Moves every thread of this process to some cores.
fn move_to(cores: &[usize]) -> Result<()> {
    let list: Vec<String> = cores.iter().map(usize::to_string).collect();
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", &list.join(",")]);
    command.arg(std::process::id().to_string());
    let status = command.stdout(Stdio::null()).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("taskset to cores {} failed", list.join(",")).into()),
    }
}

/// Makes a run on a schedule, again if the generator was late by more than its bound allows.
pub(super) fn open(
    bench: &Bench<'_>,
    side: &Side,
    arrivals: &Arrivals,
    length: Duration,
    bound_us: f64,
) -> Result<Report> {
    let mut report = bench.open(side, arrivals.clone(), length)?;
    for _ in 1..TRIES {
        if doubt(&report, bound_us).is_none() {
            break;
        }
        report = bench.open(side, arrivals.clone(), length)?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_the_former_ones_afterwards() {
        let all = process::allowed_cores().unwrap();
        let own = &all[all.len() - 1..];
        let taken = OwnCores::take(own, all.clone()).unwrap();
        assert_eq!(process::allowed_cores().unwrap(), own);
        drop(taken);
        assert_eq!(process::allowed_cores().unwrap(), all);
    }
}
