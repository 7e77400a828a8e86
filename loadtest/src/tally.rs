//! What a run counted: latencies, lateness, errors and wrong answers. All times
//! are offsets from the run's start; it owns no clock.

use crate::Result;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::Duration;

/// Latencies above a minute count as a minute.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// How one request ended.
pub(crate) enum Verdict {
    Right,
    /// Answered, but not what the golden file says.
    Wrong(String),
    Failed(String),
}

/// When one request was due, sent and answered.
pub(crate) struct Times {
    pub due: Duration,
    pub sent: Duration,
    pub done: Duration,
}

/// The counts of one run.
pub(crate) struct Tally {
    latency: Histogram<u64>,
    lateness: Histogram<u64>,
    right: u64,
    wrong: u64,
    failed: u64,
    first_fault: Option<String>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self> {
        let empty = || Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3);
        Ok(Self {
            latency: empty()?,
            lateness: empty()?,
            right: 0,
            wrong: 0,
            failed: 0,
            first_fault: None,
        })
    }

    /// Counts one request. Its latency starts when it was due, not when it was
    /// sent, so that a stall shows for every request it delayed.
    pub(crate) fn record(&mut self, times: &Times, verdict: Verdict) {
        let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        self.lateness
            .saturating_record(ns(times.sent.saturating_sub(times.due)));
        let fault = match verdict {
            Verdict::Right => {
                self.right += 1;
                self.latency
                    .saturating_record(ns(times.done.saturating_sub(times.due)));
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

    /// The number of right answers.
    pub(crate) fn right(&self) -> u64 {
        self.right
    }

    /// The number of wrong answers and errors, with the first of them.
    pub(crate) fn faults(&self) -> (u64, Option<&str>) {
        (self.wrong + self.failed, self.first_fault.as_deref())
    }

    /// The latency in microseconds that `percent` of the right answers met.
    pub(crate) fn latency_us(&self, percent: f64) -> f64 {
        self.latency.value_at_percentile(percent) as f64 / 1e3
    }

    /// Whether the generator itself was too late for its latencies to count:
    /// by over a tenth of the bound, or of the p99 where none is set.
    pub(crate) fn is_void(&self, bound_us: Option<f64>) -> bool {
        let lateness_us = self.lateness.value_at_percentile(99.9) as f64 / 1e3;
        lateness_us > 0.1 * bound_us.unwrap_or_else(|| self.latency_us(99.0))
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "requests": self.right + self.wrong + self.failed,
            "wrong": self.wrong,
            "errors": self.failed,
            "first_fault": self.first_fault,
            "p50_us": self.latency_us(50.0),
            "p99_us": self.latency_us(99.0),
            "p99_9_us": self.latency_us(99.9),
            "max_us": self.latency.max() as f64 / 1e3,
            "lateness_p99_9_us": self.lateness.value_at_percentile(99.9) as f64 / 1e3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Poisson;

    /// One server, 100 µs a request, that stands still for 200 ms every 10 s.
    fn simulate(stall: Duration, lateness: Duration) -> Tally {
        let mut tally = Tally::new().unwrap();
        let (mut free, mut stalls) = (Duration::ZERO, 0);
        for due in Poisson::new(1000.0, 1).take_while(|t| *t < Duration::from_secs(60)) {
            let sent = due + lateness;
            let mut start = sent.max(free);
            if start.as_secs() / 10 > stalls {
                stalls = start.as_secs() / 10;
                start += stall;
            }
            free = start + Duration::from_micros(100);
            tally.record(
                &Times {
                    due,
                    sent,
                    done: free,
                },
                Verdict::Right,
            );
        }
        tally
    }

    #[test]
    fn stall_of_200_ms_shows_at_p99() {
        let stalled = simulate(Duration::from_millis(200), Duration::ZERO);
        assert!(stalled.latency_us(99.0) > 80_000.0, "{}", stalled.json());
        assert!(simulate(Duration::ZERO, Duration::ZERO).latency_us(99.0) < 2_000.0);
    }

    #[test]
    fn late_generator_voids_the_run() {
        let late = simulate(Duration::ZERO, Duration::from_millis(1));
        assert!(!simulate(Duration::ZERO, Duration::ZERO).is_void(None));
        assert!(late.is_void(None) && late.is_void(Some(9_000.0)));
        assert!(!late.is_void(Some(11_000.0)));
    }

    #[test]
    fn faults_are_counted_apart_and_the_first_is_kept() {
        let mut tally = Tally::new().unwrap();
        let times = Times {
            due: Duration::ZERO,
            sent: Duration::ZERO,
            done: Duration::from_secs(1),
        };
        tally.record(&times, Verdict::Wrong("first".to_owned()));
        tally.record(&times, Verdict::Failed("second".to_owned()));
        assert_eq!(tally.faults(), (2, Some("first")));
        assert_eq!(tally.right(), 0);
    }
}
