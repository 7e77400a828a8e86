//! Sends load, in a closed loop or on a schedule, and tallies it. The schedule
//! runs on its own thread, whose sleeps are finer than the async runtime's.

mod open;
mod priority;

use crate::clients::{Sender, Target};
use crate::schedule::Arrivals;
use crate::tally::{Tally, Times, Verdict};
use crate::{Result, process};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// A request that stays unanswered so long after the end of a run fails the run.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the end of the last requests is looked for.
const LOOK: Duration = Duration::from_millis(2);

/// Numbers of requests over all runs of the process: fresh requests differ in it.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// When requests are sent.
#[derive(Clone)]
pub(crate) enum Pace {
    /// As many at a time, each after the answer to the last.
    Closed { in_flight: usize },
    /// On a schedule, whatever the server does.
    Open { arrivals: Arrivals, seed: u64 },
}

/// Requests that are given up: this share of them, so long after they were sent.
#[derive(Clone, Copy)]
pub(crate) struct Cancel {
    pub share: f64,
    pub after: Duration,
}

/// One run.
#[derive(Clone)]
pub(crate) struct Plan {
    pub target: Target,
    pub pace: Pace,
    pub length: Duration,
    /// Load before the clock starts; in a closed loop only.
    pub warm_up: Duration,
    pub connections: usize,
    pub cancel: Option<Cancel>,
}

/// What a run measured.
pub(crate) struct Report {
    pub tally: Tally,
    pub took: Duration,
    /// CPU time of the server during the run, with all processes that it started.
    pub server_cpu: Option<Duration>,
    /// CPU time of this process during the run.
    pub client_cpu: Duration,
    is_open: bool,
}

impl Report {
    /// The server's CPU time per right answer.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        self.server_cpu.map(|used| self.per_answer(used))
    }

    fn per_answer(&self, used: Duration) -> f64 {
        used.as_secs_f64() * 1e6 / self.tally.right.max(1) as f64
    }

    /// Right answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.tally.right as f64 / self.took.as_secs_f64()
    }

    /// Whether the generator was too late for the latencies to count.
    pub(crate) fn is_void(&self, bound_us: Option<f64>) -> bool {
        self.is_open && self.tally.is_void(bound_us)
    }

    /// Whether the figures stand: no fault, a generator that was on time, and a
    /// p99 within `bound_us` where one is set.
    pub(crate) fn verdict(&self, bound_us: Option<f64>) -> Result<()> {
        let p99_us = self.tally.latency_us(99.0);
        match (self.tally.faults(), bound_us) {
            ((faults, first), _) if faults > 0 => {
                Err(format!("{faults} faults, first: {}", first.unwrap_or_default()).into())
            }
            _ if self.is_void(bound_us) => Err("void: the generator was late itself".into()),
            (_, Some(bound)) if p99_us > bound => {
                Err(format!("p99 of {p99_us} µs is over the bound of {bound} µs").into())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn json(&self, bound_us: Option<f64>) -> Value {
        let mut json = self.tally.json();
        json["seconds"] = json!(self.took.as_secs_f64());
        json["rate"] = json!(self.rate());
        json["server_cpu_us"] = json!(self.cpu_us());
        json["client_cpu_us"] = json!(self.per_answer(self.client_cpu));
        json["void"] = json!(self.is_void(bound_us));
        json
    }
}

/// What the tasks of a run share.
struct Shared {
    tally: RefCell<Tally>,
    start: Cell<Instant>,
    deadline: Option<Duration>,
    cancel: Option<Cancel>,
    /// Answers count only while it is set.
    is_counting: Cell<bool>,
    /// A closed loop sends no more.
    is_over: Cell<bool>,
    /// Requests, or loops of requests, that have not ended.
    unended: Cell<usize>,
}

impl Shared {
    fn new(plan: &Plan) -> Result<Self> {
        let deadline = plan.target.deadline;
        Ok(Self {
            tally: RefCell::new(Tally::new(deadline)?),
            start: Cell::new(Instant::now()),
            deadline,
            cancel: plan.cancel,
            is_counting: Cell::new(true),
            is_over: Cell::new(false),
            unended: Cell::new(0),
        })
    }

    fn now(&self) -> Duration {
        self.start.get().elapsed()
    }

    /// Forgets what was counted and starts the clock anew.
    fn restart(&self) -> Result<()> {
        *self.tally.borrow_mut() = Tally::new(self.deadline)?;
        self.start.set(Instant::now());
        Ok(())
    }

    fn begun(&self) {
        self.unended.set(self.unended.get() + 1);
    }

    fn ended(&self) {
        self.unended.set(self.unended.get() - 1);
    }

    /// Sends one request, unless it is given up, and counts it.
    async fn send(&self, sender: &mut Sender, due: Option<Duration>, sent: Duration) {
        let n = NUMBER.fetch_add(1, Ordering::Relaxed);
        let verdict = match self.cancel.filter(|c| is_chosen(n, c.share)) {
            None => sender.send(n).await,
            Some(cancel) => match tokio::time::timeout(cancel.after, sender.send(n)).await {
                Ok(verdict) => verdict,
                Err(_) => {
                    sender.recover().await;
                    Verdict::Cancelled
                }
            },
        };
        if self.is_counting.get() {
            let times = Times {
                due: due.unwrap_or(sent),
                sent,
                done: self.now(),
            };
            self.tally.borrow_mut().record(&times, verdict);
        }
    }

    /// Waits until all requests have ended.
    async fn rest(&self) -> Result<()> {
        let begin = Instant::now();
        while self.unended.get() > 0 {
            if begin.elapsed() > PATIENCE {
                return Err(format!("requests stayed unanswered for {PATIENCE:?}").into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

/// A share of all numbers, spread evenly.
fn is_chosen(n: u64, share: f64) -> bool {
    let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11;
    (spread as f64) < share * (1u64 << 53) as f64
}

/// Sends what `plan` says, and measures the server's process where given.
pub(crate) fn run(plan: &Plan, pid: Option<u32>) -> Result<Report> {
    let is_open = matches!(plan.pace, Pace::Open { .. });
    let _raised = is_open.then(priority::Raised::new);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut senders = connect(plan).await?;
        let shared = Rc::new(Shared::new(plan)?);
        let used = || pid.map(process::used_tree).transpose();
        let own = || process::used("self");

        match &plan.pace {
            Pace::Closed { in_flight } => {
                let opened = std::mem::take(&mut senders);
                for sender in spread(&plan.target, opened, *in_flight).await? {
                    closed(sender, &shared);
                }
                if !plan.warm_up.is_zero() {
                    tokio::time::sleep(plan.warm_up).await;
                }
                shared.restart()?;
            }
            Pace::Open { .. } => shared.restart()?,
        }
        let (before, own_before) = (used()?, own()?);
        if let Pace::Open { arrivals, seed } = &plan.pace {
            let times = arrivals.clone().times(*seed);
            open::send(&shared, senders, times, plan.length).await?;
            shared.rest().await?;
        } else {
            tokio::time::sleep(plan.length).await;
        }

        let took = shared.now();
        let after = used()?;
        let client_cpu = own()?.saturating_sub(own_before);
        shared.is_counting.set(false);
        shared.is_over.set(true);
        shared.rest().await?;
        let server_cpu = after.zip(before);
        Ok(Report {
            tally: shared.tally.replace(Tally::new(None)?),
            took,
            server_cpu: server_cpu.map(|(after, before)| after.saturating_sub(before)),
            client_cpu,
            is_open,
        })
    })
}

/// Opens the connections and asks once on each; the first answer must be right.
async fn connect(plan: &Plan) -> Result<Vec<Sender>> {
    let mut senders = Vec::new();
    for _ in 0..plan.connections.max(1) {
        let mut sender = plan.target.connect().await?;
        // Number 0 of each set is sent as it is, and checked.
        if let Verdict::Wrong(fault) | Verdict::Failed(fault) = sender.send(0).await {
            return Err(format!("the first request: {fault}").into());
        }
        senders.push(sender);
    }
    Ok(senders)
}

/// One sender for each request in flight, over the connections in turn.
async fn spread(
    target: &Target,
    mut senders: Vec<Sender>,
    in_flight: usize,
) -> Result<Vec<Sender>> {
    let opened = senders.len().min(in_flight.max(1));
    senders.truncate(opened);
    for at in opened..in_flight {
        let more = match senders[at % opened].share() {
            Some(shared) => shared,
            None => target.connect().await?,
        };
        senders.push(more);
    }
    Ok(senders)
}

fn closed(mut sender: Sender, shared: &Rc<Shared>) {
    let shared = shared.clone();
    shared.begun();
    tokio::task::spawn_local(async move {
        while !shared.is_over.get() {
            let sent = shared.now();
            shared.send(&mut sender, None, sent).await;
        }
        shared.ended();
    });
}

#[cfg(test)]
mod tests;
