//! What a run counted: latencies, lateness, refusals, errors and wrong answers. All
//! times are offsets from the run's start; it owns no clock.

use crate::Result;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::Duration;

/// Latencies above a minute count as a minute.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
/// Right answers of which due time and latency are kept one by one.
const SAMPLES_MAX: usize = 4_000_000;

/// How one request ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Right,
    /// Answered, but not what is expected.
    Wrong(String),
    /// Refused because the server has too much to do.
    Overloaded,
    /// Refused because of the request's own deadline.
    Expired,
    /// Given up by the generator, as planned.
    Cancelled,
    Failed(String),
}

/// When one request was due, sent and answered.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub due: Duration,
    pub sent: Duration,
    pub done: Duration,
}

/// The counts of one run.
pub(crate) struct Tally {
    deadline: Option<Duration>,
    latency: Histogram<u64>,
    lateness: Histogram<u64>,
    refusal: Histogram<u64>,
    overdue: Histogram<u64>,
    /// Due time and latency of right answers, in seconds.
    pub samples: Vec<(f32, f32)>,
    pub right: u64,
    /// Right answers within the deadline.
    pub good: u64,
    pub wrong: u64,
    pub overloaded: u64,
    pub expired: u64,
    pub cancelled: u64,
    pub failed: u64,
    first_fault: Option<String>,
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn us(histogram: &Histogram<u64>, percent: f64) -> f64 {
    histogram.value_at_percentile(percent) as f64 / 1e3
}

impl Tally {
    pub(crate) fn new(deadline: Option<Duration>) -> Result<Self> {
        let empty = || Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3);
        Ok(Self {
            deadline,
            latency: empty()?,
            lateness: empty()?,
            refusal: empty()?,
            overdue: empty()?,
            samples: Vec::new(),
            right: 0,
            good: 0,
            wrong: 0,
            overloaded: 0,
            expired: 0,
            cancelled: 0,
            failed: 0,
            first_fault: None,
        })
    }

    /// Counts one request. Its latency starts when it was due, not when it was
    /// sent, so that a stall shows for every request it delayed.
    pub(crate) fn record(&mut self, times: &Times, verdict: Verdict) {
        let late = times.sent.saturating_sub(times.due);
        self.lateness.saturating_record(ns(late));
        let fault = match verdict {
            Verdict::Right => return self.record_right(times),
            Verdict::Overloaded | Verdict::Expired => {
                return self.record_refusal(times, verdict == Verdict::Expired);
            }
            Verdict::Cancelled => {
                self.cancelled += 1;
                return;
            }
            Verdict::Wrong(fault) => {
                self.wrong += 1;
                fault
            }
            Verdict::Failed(fault) => {
                self.failed += 1;
                fault
            }
        };
        self.first_fault.get_or_insert(fault);
    }

    fn record_right(&mut self, times: &Times) {
        let latency = times.done.saturating_sub(times.due);
        self.right += 1;
        self.good += u64::from(self.deadline.is_none_or(|deadline| latency <= deadline));
        self.latency.saturating_record(ns(latency));
        if self.samples.len() < SAMPLES_MAX {
            let sample = (times.due.as_secs_f32(), latency.as_secs_f32());
            self.samples.push(sample);
        }
    }

    fn record_refusal(&mut self, times: &Times, is_expired: bool) {
        let took = times.done.saturating_sub(times.sent);
        self.refusal.saturating_record(ns(took));
        if !is_expired {
            self.overloaded += 1;
            return;
        }
        self.expired += 1;
        // Others were refused before, most of them when they arrived.
        if let Some(deadline) = self.deadline
            && took >= deadline
        {
            self.overdue.saturating_record(ns(took - deadline));
        }
    }

    /// The deadline of the requests.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// All requests that ended.
    pub(crate) fn requests(&self) -> u64 {
        self.right + self.refused() + self.cancelled + self.wrong + self.failed
    }

    /// The requests that the server refused.
    pub(crate) fn refused(&self) -> u64 {
        self.overloaded + self.expired
    }

    /// The number of wrong answers and errors, with the first of them.
    pub(crate) fn faults(&self) -> (u64, Option<&str>) {
        (self.wrong + self.failed, self.first_fault.as_deref())
    }

    /// The latency in microseconds that `percent` of the right answers met.
    pub(crate) fn latency_us(&self, percent: f64) -> f64 {
        us(&self.latency, percent)
    }

    /// How long `percent` of the refusals took at most, in microseconds.
    pub(crate) fn refusal_us(&self, percent: f64) -> f64 {
        us(&self.refusal, percent)
    }

    /// Expired requests that were answered when their deadline had passed.
    pub(crate) fn overdue(&self) -> u64 {
        self.overdue.len()
    }

    /// How long after the deadline those were answered, in microseconds.
    pub(crate) fn overdue_us(&self, percent: f64) -> f64 {
        us(&self.overdue, percent)
    }

    /// The latency in seconds that `percent` of the right answers due in `[from, to)` met.
    pub(crate) fn latency_between(&self, from: f64, to: f64, percent: f64) -> Option<f64> {
        let inside = |(due, _): &&(f32, f32)| (from..to).contains(&f64::from(*due));
        let mut all: Vec<f32> = self.samples.iter().filter(inside).map(|s| s.1).collect();
        all.sort_by(f32::total_cmp);
        let at = (percent / 100.0 * all.len() as f64).ceil() as usize;
        all.get(at.saturating_sub(1)).map(|l| f64::from(*l))
    }

    /// How late `percent` of the requests were dispatched at most, in microseconds.
    pub(crate) fn lateness_us(&self, percent: f64) -> f64 {
        us(&self.lateness, percent)
    }

    /// Whether the generator itself was too late for its latencies to count:
    /// by over a tenth of the bound, or of the p99 where none is set.
    pub(crate) fn is_void(&self, bound_us: Option<f64>) -> bool {
        self.lateness_us(99.9) > 0.1 * bound_us.unwrap_or_else(|| self.latency_us(99.0))
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "requests": self.requests(),
            "right": self.right,
            "within_deadline": self.good,
            "wrong": self.wrong,
            "overloaded": self.overloaded,
            "expired": self.expired,
            "cancelled": self.cancelled,
            "errors": self.failed,
            "first_fault": self.first_fault,
            "p50_us": self.latency_us(50.0),
            "p99_us": self.latency_us(99.0),
            "p99_9_us": self.latency_us(99.9),
            "max_us": self.latency.max() as f64 / 1e3,
            "refusal_p99_us": self.refusal_us(99.0),
            "lateness_p99_9_us": self.lateness_us(99.9),
        })
    }
}

#[cfg(test)]
mod tests;
