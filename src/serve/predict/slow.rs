//! Logs slow predictions, at most a few per second.

use super::Prediction;
use crate::core::error::{Error, Result};
use crate::core::request::Response;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Most slow predictions that are logged per second; more are skipped.
const LOGGED_PER_SECOND_MAX: u32 = 10;

/// Decides which predictions are logged as slow.
pub(super) struct SlowLog {
    threshold: Option<Duration>,
    current: Mutex<Second>,
}

/// The current second, and how many predictions were logged in it.
struct Second {
    since: Instant,
    logged: u32,
}

impl SlowLog {
    /// Logs predictions that take `threshold` or longer; none without it.
    pub(super) fn new(threshold: Option<Duration>) -> Self {
        Self {
            threshold,
            current: Mutex::new(Second {
                since: Instant::now(),
                logged: 0,
            }),
        }
    }

    /// Logs a prediction if it was slow.
    pub(super) fn log_if_slow(&self, prediction: &Prediction, outcome: Result<&Response, &Error>) {
        let Some(threshold) = self.threshold else {
            return;
        };
        let took = prediction.arrived.elapsed();
        if took < threshold || !self.may_log() {
            return;
        }

        let (model, version) = (
            prediction.servable.name.as_str(),
            prediction.servable.version.number(),
        );
        let took_us = took.as_micros();
        match outcome {
            Ok(response) => {
                let trace = response.trace.as_deref().and_then(|t| t.split('-').nth(1));
                let (id, prediction_id) = (&response.id, response.prediction_id);
                let timing = &response.timing;
                let (queue_us, gather_us) = (timing.queue.as_micros(), timing.gather.as_micros());
                let (run_us, batch_rows) = (timing.run.as_micros(), timing.batch_rows);
                let batch = timing.batch;
                tracing::warn!(
                    model, version, took_us, queue_us, gather_us, run_us, batch, batch_rows, %prediction_id, id, trace,
                    "slow prediction"
                );
            }
            Err(error) => {
                let kind = error.kind.label();
                tracing::warn!(model, version, took_us, kind, %error, "slow prediction");
            }
        }
    }

    fn may_log(&self) -> bool {
        let mut second = self.current.lock();
        if second.since.elapsed() >= Duration::from_secs(1) {
            *second = Second {
                since: Instant::now(),
                logged: 0,
            };
        }

        second.logged += 1;
        second.logged <= LOGGED_PER_SECOND_MAX
    }
}
