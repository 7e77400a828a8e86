//! Checks in production that batches are safe: one request of a batch is run again alone, off the
//! path of requests, and the two answers are compared. The first answer that other rows changed
//! ends batching of the version.
//!
//! Decides when a batch gives a sample, and what follows from the answers. Owns no thread, no
//! session and no clock: the lane passes all three in.

mod compare;
mod sample;
#[cfg(test)]
mod tests;
mod verdict;

use crate::core::error::Result;
use crate::core::hash::mix;
use crate::core::model::{ModelName, Version};
use crate::observe::metrics::servable::ServableMetrics;
use compare::ValueDifference;
use parking_lot::Mutex;
pub(super) use sample::Sample;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use verdict::{Consequence, RecheckVerdict, Ties};
pub(super) use verdict::{judge, judge_bits, judge_filled};

/// Why requests run alone after a disagreement.
pub(crate) const DISAGREED: &str = "a row's answer alone differed from its answer in a batch";

/// Why requests are no longer padded after a disagreement.
pub(crate) const PADDING_DISAGREED: &str =
    "a row's answer at its own length differed from its padded answer in a batch";

/// How the batches of a version are rechecked.
#[derive(Clone, Debug)]
pub(crate) struct RecheckOptions {
    pub model: ModelName,
    pub version: Version,
    /// Names of the outputs, in the graph's order.
    pub outputs: Vec<String>,
    /// Least time between two rechecks.
    pub interval: Duration,
}

/// Pause after a recheck as a multiple of its duration, so that rechecks take at most 1 % of the
/// time of one lane.
const REST: u32 = 99;

/// Time after which a sample no longer waits for an idle lane.
const PATIENCE: Duration = Duration::from_secs(1);

/// No batch gives a sample: one is being rechecked, or rechecks have ended.
const NEVER: u64 = u64::MAX;

/// The rechecks of one version.
pub(super) struct Rechecks {
    options: Option<RecheckOptions>,
    /// The moment from which `due` is counted.
    zero: Instant,
    /// Nanoseconds after which the next batch gives a sample, or [`NEVER`].
    due: AtomicU64,
    ties: Mutex<Ties>,
    /// Why requests are no longer merged.
    ended: OnceLock<&'static str>,
}

/// A recheck that was made.
pub(super) struct Rechecked {
    pub sample: Sample,
    /// The error says why there is no verdict.
    pub verdict: Result<RecheckVerdict>,
    pub start: Instant,
    pub end: Instant,
}

/// What follows from a recheck for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concluded {
    /// Nothing, or nothing more.
    GoOn,
    /// They are no longer padded.
    EndPadding,
}

impl Rechecks {
    /// Takes the first sample from the first batch; without options none is taken.
    pub(super) fn new(options: Option<RecheckOptions>, zero: Instant) -> Self {
        let due = if options.is_some() { 0 } else { NEVER };
        Self {
            options,
            zero,
            due: AtomicU64::new(due),
            ties: Mutex::default(),
            ended: OnceLock::new(),
        }
    }

    /// Returns why requests are no longer merged.
    pub(super) fn ended(&self) -> Option<&'static str> {
        self.ended.get().copied()
    }

    /// Tells whether a batch that ended `now` gives a sample.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        due != NEVER && self.number(now) >= due
    }

    /// Stops samples until [`Rechecks::conclude`]. Returns whether no other lane did.
    pub(super) fn claim(&self) -> bool {
        self.due.swap(NEVER, Ordering::Relaxed) != NEVER
    }

    fn number(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.zero).as_nanos();
        u64::try_from(since).map_or(NEVER - 1, |since| since.min(NEVER - 1))
    }

    /// Counts and logs a recheck. Then plans the next one, or ends rechecks or batching. A padded request whose
    /// answer differs ends padding only: further rechecks compare batches without it.
    pub(super) fn conclude(&self, rechecked: Rechecked, metrics: &ServableMetrics) -> Concluded {
        let mut concluded = Concluded::GoOn;
        let Some(options) = &self.options else {
            return concluded;
        };
        let (model, version) = (options.model.as_str(), options.version.number());
        if rechecked.verdict.is_ok() {
            metrics.batch_rechecks.inc();
        }
        let count = metrics.batch_rechecks.get();

        let weigh = |verdict| self.ties.lock().weigh(verdict, count);
        match rechecked.verdict.map(weigh) {
            Ok(Consequence::GoOn) => {}
            Ok(Consequence::EndRechecks) => {
                tracing::warn!(
                    model,
                    version,
                    "not deterministic: the same request gets different answers, so batches of this version are no longer rechecked"
                );
                return concluded;
            }
            Ok(Consequence::EndBatching(difference)) => {
                metrics.batch_disagreements.inc();
                log_end(options, &rechecked.sample, &difference);
                if rechecked.sample.padded.is_none() {
                    let _ = self.ended.set(DISAGREED);
                    return concluded;
                }
                concluded = Concluded::EndPadding;
            }
            Err(error) => tracing::debug!(model, version, %error, "a recheck of a batch failed"),
        }

        let took = rechecked.end - rechecked.start;
        let due = rechecked.end + pause(options.interval, took, count);
        self.due.store(self.number(due), Ordering::Relaxed);
        concluded
    }
}

fn log_end(options: &RecheckOptions, sample: &Sample, difference: &ValueDifference) {
    let output = options.outputs.get(difference.output);
    let what = match sample.padded {
        Some(_) => format!(
            "padding ended: {PADDING_DISAGREED}; requests of this version run at their own lengths from now on"
        ),
        None => format!(
            "batching ended: {DISAGREED}; each request of this version runs alone from now on"
        ),
    };
    tracing::error!(
        model = options.model.as_str(),
        version = options.version.number(),
        output = output.map_or("", String::as_str),
        row = difference.row,
        inputs = %sample.digest(),
        alone = difference.alone,
        in_batch = difference.batched,
        apart = difference.apart,
        batch_rows = sample.total,
        "{what}"
    );
}

/// Returns the time from the end of a recheck to the next sample: one to two intervals, so that
/// samples do not keep the pace of a client, and longer after a recheck that took long.
fn pause(interval: Duration, took: Duration, count: u64) -> Duration {
    const STEPS: u64 = 1024;
    let step = (mix(count) % STEPS) as u32;
    let varied = interval + interval * step / STEPS as u32;
    varied.max(took.saturating_mul(REST))
}
