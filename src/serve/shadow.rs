//! Copies of requests to the version that the alias `shadow` points at: off the
//! path, shed first, and only compared. Owns a bounded queue and one thread; the
//! request that is copied never waits for either.

use crate::core::error::{Error, Result};
use crate::core::request::Deadline;
use crate::core::tensor::Tensor;
use crate::core::tensor::compare::{Tolerance, difference};
use crate::observe::metrics::Metrics;
use crate::serve::servable::Servable;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Copies waiting; beyond it they are dropped and counted.
const COPIES_MAX: usize = 64;
/// The largest copy, with its answer; a larger one is dropped and counted.
const COPY_BYTES_MAX: usize = 1 << 20;
/// How long a copy may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How far apart numbers may be that count as the same.
const TOLERANCE: Tolerance = Tolerance {
    relative: 1e-4,
    absolute: 1e-4,
};
/// The least urgent there is.
const PRIORITY: u8 = u8::MAX;

/// A request that was answered, to be asked again of another version.
pub(crate) struct Copied {
    pub shadow: Arc<Servable>,
    pub inputs: Vec<(String, Tensor)>,
    /// What was answered.
    pub outputs: Vec<(Arc<str>, Tensor)>,
}

/// The way to the shadow's thread; dropping it ends that.
pub(crate) struct Shadows {
    copies: Sender<Copied>,
    metrics: Arc<Metrics>,
}

/// What a copy came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Same,
    Different,
    Failed,
    Dropped,
}

impl Outcome {
    /// The metric label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

impl Shadows {
    /// Starts the thread.
    pub(crate) fn start(metrics: &Arc<Metrics>) -> Result<Self> {
        let (copies, inbox) = bounded(COPIES_MAX);
        let (counts, metrics) = (Arc::clone(metrics), Arc::clone(metrics));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime =
            runtime.map_err(|e| Error::internal("build the shadow's runtime").with_source(e))?;
        std::thread::Builder::new()
            .name("shadow".to_owned())
            .spawn(move || serve(&inbox, &runtime, &counts))
            .map_err(|e| Error::internal("start the shadow").with_source(e))?;
        Ok(Self { copies, metrics })
    }

    /// Takes a copy if there is room, and drops it if not; never waits.
    pub(crate) fn offer(&self, copied: Copied) {
        let outputs = copied.outputs.iter().map(|(_, t)| t.bytes());
        let bytes: usize = copied
            .inputs
            .iter()
            .map(|(_, t)| t.bytes())
            .chain(outputs)
            .sum();
        let shadow = Arc::clone(&copied.shadow);
        if bytes > COPY_BYTES_MAX || self.copies.try_send(copied).is_err() {
            self.metrics
                .shadowed(&shadow.name, shadow.version, Outcome::Dropped.label());
        }
    }
}

fn serve(inbox: &Receiver<Copied>, runtime: &tokio::runtime::Runtime, metrics: &Metrics) {
    while let Ok(Copied {
        shadow,
        inputs,
        outputs,
    }) = inbox.recv()
    {
        let asked = shadow.signature.check(inputs);
        let ran = asked.and_then(|inputs| {
            runtime.block_on(shadow.run(inputs, Deadline::after(Instant::now(), TIMEOUT), PRIORITY))
        });
        let outcome = match ran {
            Ok(done) => {
                let other: Vec<_> = shadow
                    .signature
                    .outputs
                    .iter()
                    .map(|o| o.name.as_str())
                    .zip(&done.outputs)
                    .collect();
                let same = |(name, tensor): &(Arc<str>, Tensor)| {
                    other
                        .iter()
                        .any(|(n, t)| *n == &**name && difference(tensor, t, TOLERANCE).is_none())
                };
                if outputs.iter().all(same) {
                    Outcome::Same
                } else {
                    Outcome::Different
                }
            }
            Err(error) => {
                tracing::debug!(model = shadow.name.as_str(), version = shadow.version.number(), %error, "a copy failed");
                Outcome::Failed
            }
        };
        metrics.shadowed(&shadow.name, shadow.version, outcome.label());
    }
}
