//! Sends copies of requests to the version with the alias `shadow`, and compares the outputs. Owns
//! a bounded queue and one thread. The original request never waits for them, and copies are the
//! first to be dropped under load.

use crate::core::error::{Error, Result};
use crate::core::request::Deadline;
use crate::core::tensor::Tensor;
use crate::core::tensor::compare::{Tolerance, difference};
use crate::observe::metrics::Metrics;
use crate::serve::servable::Servable;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most copies that wait; further ones are dropped and counted.
const COPIES_MAX: usize = 64;
/// Most bytes of a copy with its outputs; a larger one is dropped and counted.
const COPY_BYTES_MAX: usize = 1 << 20;
/// Deadline of a copy.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Tolerance within which numbers count as the same.
const TOLERANCE: Tolerance = Tolerance {
    relative: 1e-4,
    absolute: 1e-4,
};
/// The least urgent priority.
const PRIORITY: u8 = u8::MAX;

/// An answered request, to be run again on another version.
pub(crate) struct Copied {
    pub shadow: Arc<Servable>,
    pub inputs: Vec<(String, Tensor)>,
    /// The original outputs.
    pub outputs: Vec<(Arc<str>, Tensor)>,
}

/// The handle to the thread of the copies. Dropping it ends the thread.
pub(crate) struct Shadows {
    copies: Sender<Copied>,
    metrics: Arc<Metrics>,
}

/// The result of running a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShadowOutcome {
    Same,
    Different,
    Failed,
    Dropped,
}

impl ShadowOutcome {
    /// Returns the metric label.
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

    /// Queues a copy, or drops it if the queue is full; never waits.
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
                .shadowed(&shadow.name, shadow.version, ShadowOutcome::Dropped.label());
        }
    }
}

fn serve(inbox: &Receiver<Copied>, runtime: &tokio::runtime::Runtime, metrics: &Metrics) {
    while let Ok(copied) = inbox.recv() {
        let shadow = Arc::clone(&copied.shadow);
        let outcome = runtime.block_on(compare(copied)).unwrap_or_else(|error| {
            let (model, version) = (shadow.name.as_str(), shadow.version.number());
            tracing::debug!(model, version, %error, "a shadow copy failed");
            ShadowOutcome::Failed
        });
        metrics.shadowed(&shadow.name, shadow.version, outcome.label());
    }
}

/// Runs a copy, and compares its answer with the original one.
async fn compare(copied: Copied) -> Result<ShadowOutcome> {
    let shadow = &copied.shadow;
    let inputs = shadow.signature.check(copied.inputs)?;
    let deadline = Deadline::after(Instant::now(), TIMEOUT);
    let done = shadow.submit(inputs, Some(deadline), PRIORITY)?.await?;

    let specs = &shadow.signature.outputs;
    for (name, original) in &copied.outputs {
        let at = specs.iter().position(|spec| spec.name == **name);
        let other = at.and_then(|at| done.outputs.get(at));
        let is_same = other.is_some_and(|other| difference(original, other, TOLERANCE).is_none());
        if !is_same {
            return Ok(ShadowOutcome::Different);
        }
    }

    Ok(ShadowOutcome::Same)
}
