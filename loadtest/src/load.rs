//! Sends load, in a closed loop or on a schedule, and tallies it. The schedule
//! runs on its own thread, whose sleeps are finer than the async runtime's.

use crate::golden::Golden;
use crate::schedule::Poisson;
use crate::tally::{Tally, Times, Verdict};
use crate::wire::{Connection, Target};
use crate::{Result, cpu};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::LocalSet;

/// When requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// As many at a time, each after the answer to the last.
    Closed { in_flight: usize },
    /// So many a second, whatever the server does.
    Open { rate: f64, seed: u64 },
}

/// One run.
pub(crate) struct Plan {
    pub target: Target,
    pub golden: Option<Golden>,
    pub pace: Pace,
    pub length: Duration,
    pub connections: usize,
}

/// What a run measured.
pub(crate) struct Report {
    pub tally: Tally,
    pub took: Duration,
    /// CPU time of the server during the run.
    pub server_cpu: Option<Duration>,
    open: bool,
}

impl Report {
    /// The server's CPU time per right answer.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        let right = self.tally.right().max(1) as f64;
        self.server_cpu.map(|used| used.as_secs_f64() * 1e6 / right)
    }

    /// Whether the figures stand: no fault, a generator that was on time, and a
    /// p99 within `bound_us` where one is set.
    pub(crate) fn verdict(&self, bound_us: Option<f64>) -> Result<()> {
        let p99_us = self.tally.latency_us(99.0);
        match (self.tally.faults(), bound_us) {
            ((0, _), _) if self.open && self.tally.is_void(bound_us) => {
                Err("void: the generator was late itself".into())
            }
            ((0, _), Some(bound)) if p99_us > bound => {
                Err(format!("p99 of {p99_us} µs is over the bound of {bound} µs").into())
            }
            ((0, _), _) => Ok(()),
            ((faults, first), _) => {
                Err(format!("{faults} faults, first: {}", first.unwrap_or_default()).into())
            }
        }
    }

    pub(crate) fn json(&self, bound_us: Option<f64>) -> Value {
        let mut json = self.tally.json();
        json["seconds"] = json!(self.took.as_secs_f64());
        json["rate"] = json!(self.tally.right() as f64 / self.took.as_secs_f64());
        json["server_cpu_us"] = json!(self.cpu_us());
        json["void"] = json!(self.open && self.tally.is_void(bound_us));
        json
    }
}

type Outcome = (Times, Verdict);

/// Sends what `plan` says, and measures the server's process where given.
pub(crate) fn run(plan: Plan, pid: Option<u32>) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let golden = plan.golden.map(Arc::new);
        let mut senders = Vec::new();
        for _ in 0..plan.connections.max(1) {
            let mut connection = plan.target.connect().await?;
            if let Verdict::Wrong(fault) | Verdict::Failed(fault) =
                connection.send(golden.as_deref()).await
            {
                return Err(format!("the first request: {fault}").into());
            }
            senders.push(connection);
        }
        let used = || pid.map(|pid| cpu::used(&pid.to_string())).transpose();
        let rounds = Loop {
            golden,
            length: plan.length,
        };
        let open = matches!(plan.pace, Pace::Open { .. });
        if let Pace::Closed { in_flight } = plan.pace {
            spread(&plan.target, &mut senders, in_flight).await?;
        }
        let (before, start) = (used()?, Instant::now());
        let (outcomes, mut inbox) = mpsc::unbounded_channel();
        match plan.pace {
            Pace::Closed { .. } => rounds.closed(senders, start, &outcomes),
            Pace::Open { rate, seed } => {
                rounds.open(senders, start, Poisson::new(rate, seed), outcomes.clone())?
            }
        }
        drop(outcomes);
        let mut tally = Tally::new()?;
        while let Some((times, verdict)) = inbox.recv().await {
            tally.record(&times, verdict);
        }
        let took = start.elapsed();
        let server_cpu = used()?
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before));
        Ok(Report {
            tally,
            took,
            server_cpu,
            open,
        })
    })
}

/// One sender for each request in flight, over the connections in turn.
async fn spread(target: &Target, senders: &mut Vec<Connection>, in_flight: usize) -> Result<()> {
    let opened = senders.len().min(in_flight.max(1));
    senders.truncate(opened);
    for at in opened..in_flight {
        let more = match senders[at % opened].share() {
            Some(shared) => shared,
            None => target.connect().await?,
        };
        senders.push(more);
    }
    Ok(())
}

struct Loop {
    golden: Option<Arc<Golden>>,
    length: Duration,
}

impl Loop {
    fn closed(
        &self,
        senders: Vec<Connection>,
        start: Instant,
        outcomes: &UnboundedSender<Outcome>,
    ) {
        for mut connection in senders {
            let (outcomes, golden, length) = (outcomes.clone(), self.golden.clone(), self.length);
            tokio::task::spawn_local(async move {
                while start.elapsed() < length {
                    let sent = start.elapsed();
                    let verdict = connection.send(golden.as_deref()).await;
                    let _ = outcomes.send((
                        Times {
                            due: sent,
                            sent,
                            done: start.elapsed(),
                        },
                        verdict,
                    ));
                }
            });
        }
    }

    fn open(
        &self,
        senders: Vec<Connection>,
        start: Instant,
        schedule: Poisson,
        outcomes: UnboundedSender<Outcome>,
    ) -> Result<()> {
        let (tick, mut ticks) = mpsc::unbounded_channel();
        let length = self.length;
        std::thread::Builder::new()
            .name("schedule".to_owned())
            .spawn(move || {
                for due in schedule.take_while(|due| *due < length) {
                    std::thread::sleep(due.saturating_sub(start.elapsed()));
                    if tick.send(due).is_err() {
                        break;
                    }
                }
            })?;
        let golden = self.golden.clone();
        // Stamped here, so that a wait for a connection is latency and not lateness.
        let (stamp, mut stamped) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Some(due) = ticks.recv().await {
                let _ = stamp.send((due, start.elapsed()));
            }
        });
        tokio::task::spawn_local(async move {
            let (put_back, mut pool) = mpsc::unbounded_channel();
            let mut turns = Turns::new(senders, &put_back);
            while let Some((due, sent)) = stamped.recv().await {
                let Some(mut connection) = turns.take(&mut pool).await else {
                    break;
                };
                let (outcomes, golden, put_back) =
                    (outcomes.clone(), golden.clone(), put_back.clone());
                tokio::task::spawn_local(async move {
                    let verdict = connection.send(golden.as_deref()).await;
                    let _ = outcomes.send((
                        Times {
                            due,
                            sent,
                            done: start.elapsed(),
                        },
                        verdict,
                    ));
                    if connection.share().is_none() {
                        let _ = put_back.send(connection);
                    }
                });
            }
        });
        Ok(())
    }
}

/// Hands out connections: streams of a shared one in turn, others when free.
struct Turns {
    shared: Vec<Connection>,
    at: usize,
}

impl Turns {
    fn new(senders: Vec<Connection>, put_back: &UnboundedSender<Connection>) -> Self {
        let (shared, single): (Vec<_>, Vec<_>) =
            senders.into_iter().partition(|c| c.share().is_some());
        for connection in single {
            let _ = put_back.send(connection);
        }
        Self { shared, at: 0 }
    }

    async fn take(&mut self, pool: &mut UnboundedReceiver<Connection>) -> Option<Connection> {
        if self.shared.is_empty() {
            return pool.recv().await;
        }
        self.at = (self.at + 1) % self.shared.len();
        self.shared[self.at].share()
    }
}

#[cfg(test)]
mod tests;
