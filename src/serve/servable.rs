//! A loaded, warmed-up version: its signature, its batcher and its metrics. It lives while a route
//! table or a request holds it. Dropping the last hold closes the queue, and the lanes free the
//! sessions on their own threads.

use crate::core::error::Result;
use crate::core::hash::Digest;
use crate::core::model::columns::InputColumns;
use crate::core::model::optional::CheckedInputs;
use crate::core::model::task::{OutputEnd, Task};
use crate::core::model::{ModelName, Signature, Version};
use crate::core::request::Deadline;
use crate::core::tensor::NamedTensors;
use crate::observe::drift::observer::offer::Observer;
use crate::observe::metrics::servable::ServableMetrics;
use crate::observe::report::scheduler::VersionScheduler;
use crate::onnx::runtime::Session;
use crate::registry::version_policy::VersionPolicy;
use crate::serve::batch::padder::PADDING_UNTESTED;
use crate::serve::batch::recheck::RecheckOptions;
use crate::serve::batch::waiting::Waiting;
use crate::serve::batch::watchdog::Watchdog;
use crate::serve::batch::{self, BatchOptions, Batcher, Reopen, Submission};
use crate::serve::explanations::VersionExplanation;
use crate::serve::reshapes::Reshapes;
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Whether requests are merged into batches, and if not why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Batching {
    /// Rows do not influence each other, as the graph proves or the test at load showed.
    Joined,
    /// The configuration wants it, although this speaks against it.
    Forced(String),
    /// Each request runs alone, for this reason.
    Alone(String),
}

impl Batching {
    pub(crate) fn is_joined(&self) -> bool {
        !matches!(self, Self::Alone(_))
    }
}

/// Why requests run alone where the configuration says so.
pub(crate) const BATCHING_OFF: &str = "batching is off in the configuration";

/// Why requests run alone until the test in the background has ended.
pub(crate) const UNTESTED: &str =
    "the graph proves nothing, and the test of batching in the background has not ended";

/// Why requests are not padded where each runs alone.
pub(crate) const UNMERGED: &str = "requests of this version are not merged";

/// What the configuration says of a version, and nothing else of it shows.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredSettings {
    /// Whether `max_batch_size: 0` is written: then a tensor has no rows.
    pub is_whole: bool,
    /// The most rows of a request, where `max_batch_size` is written.
    pub rows_max: Option<u32>,
    /// Which versions of the model are served.
    pub versions: VersionPolicy,
    /// The name of the model's file, if it is given.
    pub model_file: Option<String>,
    /// The files with the classes of outputs, by the outputs.
    pub label_files: BTreeMap<String, String>,
    /// The policy of the queue, as far as it is given.
    pub queue_rows_max: Option<u32>,
    pub queue_timeout: Option<Duration>,
    /// The threads of a run, if they are given.
    pub intra_op_threads: Option<usize>,
    /// Tensors of which clients see another shape, if there are any.
    pub reshapes: Option<Box<Reshapes>>,
}

/// The parts of a servable.
pub(crate) struct ServableParts {
    pub name: ModelName,
    pub version: Version,
    pub digest: Digest,
    pub signature: Signature,
    /// What computes each output.
    pub ends: Vec<OutputEnd>,
    /// The columns that a table has to give.
    pub columns: InputColumns,
    /// What its outputs mean, if that is known.
    pub task: Option<Task>,
    pub batching: Batching,
    /// Whether requests are padded and if not why, if padding is declared.
    pub padding: Option<std::result::Result<(), String>>,
    /// Sessions, at least one; each gets a lane.
    pub sessions: Vec<Box<dyn Session>>,
    /// Opens one more session, for a lane that replaces a hung one.
    pub reopen: Reopen,
    pub options: BatchOptions,
    /// Least time between two rechecks of batches; zero for none.
    pub recheck: Duration,
    /// Time limit of requests that send none, if there is one.
    pub request_timeout: Option<Duration>,
    pub metrics: Arc<ServableMetrics>,
    /// Monitors the version, if monitoring is on.
    pub observer: Option<Observer>,
    /// What explains its predictions.
    pub explanation: VersionExplanation,
    pub declared: DeclaredSettings,
}

/// A loaded version.
pub(crate) struct Servable {
    pub name: ModelName,
    pub version: Version,
    pub digest: Digest,
    /// The same as text, for every answer.
    pub digest_text: Bytes,
    /// The version as text, for every answer.
    pub version_text: Bytes,
    pub signature: Signature,
    /// What computes each output.
    pub ends: Vec<OutputEnd>,
    /// The columns that a table has to give.
    pub columns: InputColumns,
    /// What its outputs mean, if that is known.
    pub task: Option<Task>,
    /// What was decided at load, or by the test in the background; see [`Servable::batching`].
    loaded_batching: ArcSwap<Batching>,
    pub lanes: usize,
    pub provider: &'static str,
    pub options: BatchOptions,
    pub request_timeout: Option<Duration>,
    pub metrics: Arc<ServableMetrics>,
    pub observer: Option<Observer>,
    /// What explains its predictions.
    pub explanation: VersionExplanation,
    pub declared: DeclaredSettings,
    output_names: Vec<Arc<str>>,
    batcher: Batcher,
}

/// Resolves, with an error, when the last lane has dropped its session.
pub(crate) type Drained = oneshot::Receiver<()>;

impl Servable {
    /// Starts the lanes, watched by `watchdog`.
    pub(crate) fn start(parts: ServableParts, watchdog: &Watchdog) -> Result<(Arc<Self>, Drained)> {
        let (ended, drained) = oneshot::channel();
        let lanes = parts.sessions.len();
        let provider = parts.sessions.first().map_or("none", |s| s.provider());
        let recheck = recheck(&parts);
        let batcher = Batcher::start(batch::BatcherParts {
            name: format!("{}:{}", parts.name, parts.version),
            sessions: parts.sessions,
            reopen: parts.reopen,
            options: parts.options.clone(),
            recheck,
            metrics: Arc::clone(&parts.metrics),
            ended,
        })?;
        if parts.options.batched && !parts.batching.is_joined() {
            batcher.hold_merging();
        }

        watchdog.watch(&batcher);
        parts.metrics.ready.set(1);
        let output_names = parts
            .signature
            .outputs
            .iter()
            .map(|o| o.name.as_str().into())
            .collect();
        let servable = Self {
            name: parts.name,
            version: parts.version,
            digest: parts.digest,
            digest_text: parts.digest.to_string().into(),
            version_text: parts.version.to_string().into(),
            signature: parts.signature,
            ends: parts.ends,
            columns: parts.columns,
            task: parts.task,
            loaded_batching: ArcSwap::from_pointee(parts.batching),
            lanes,
            provider,
            options: parts.options,
            request_timeout: parts.request_timeout,
            metrics: parts.metrics,
            observer: parts.observer,
            explanation: parts.explanation,
            declared: parts.declared,
            output_names,
            batcher,
        };

        if let Some(result) = parts.padding {
            servable.conclude_padding(result);
        }

        Ok((Arc::new(servable), drained))
    }

    /// Queues tensors that passed [`Signature::check`] for a run.
    pub(crate) fn submit(
        &self,
        inputs: CheckedInputs,
        deadline: Option<Deadline>,
        priority: u8,
    ) -> Result<Waiting> {
        self.batcher.submit(Submission {
            inputs,
            deadline,
            priority,
        })
    }

    /// Refuses a request of which only the deadline is known, where it is plain that it cannot be served.
    pub(crate) fn check_room(&self, deadline: Option<Deadline>) -> Result<()> {
        self.batcher.check_room(deadline)
    }

    /// Says what its scheduler knows and does.
    pub(crate) fn explain(&self) -> VersionScheduler {
        let explained = self.batcher.explain();
        VersionScheduler {
            model: self.name.to_string(),
            version: self.version.number(),
            provider: self.provider.to_owned(),
            unbatched: match self.batching() {
                Batching::Alone(reason) => Some(reason),
                Batching::Joined | Batching::Forced(_) => None,
            },
            lanes: self.lanes,
            in_place: explained.in_place,
            batch_rows_max: self.options.merged_rows_max(),
            batch_sizes: self
                .options
                .sizes
                .as_ref()
                .map(|sizes| sizes.all().to_vec()),
            padding: explained.padding,
            shapes: explained.shapes,
            queue: explained.queue,
            classes: explained.classes,
            batches: explained.batches,
            refused: explained.refused,
        }
    }

    /// Tells whether requests wait for a lane now.
    pub(crate) fn has_waiting(&self) -> bool {
        self.batcher.has_waiting()
    }

    /// Returns why it cannot serve although it is loaded; none if it can.
    pub(crate) fn problem(&self) -> Option<String> {
        self.batcher.problem()
    }

    /// Returns whether requests are merged now, and if not why.
    pub(crate) fn batching(&self) -> Batching {
        match self.batcher.unbatched() {
            Some(reason) => Batching::Alone(reason.to_owned()),
            None => Batching::clone(&self.loaded_batching.load()),
        }
    }

    /// Takes the result of the test in the background, and merges requests from now on if it allows that.
    pub(crate) fn conclude_test(&self, batching: Batching) {
        let is_joined = batching.is_joined();
        self.loaded_batching.store(Arc::new(batching));
        if is_joined {
            self.batcher.release_merging();
        }
    }

    /// Takes what was found about padding, and pads requests from now on if that allows it.
    pub(crate) fn conclude_padding(&self, result: std::result::Result<(), String>) {
        let (model, version) = (self.name.as_str(), self.version.number());
        match &result {
            Ok(()) => tracing::info!(
                model,
                version,
                "padding on: the test showed that it does not change answers"
            ),
            Err(reason) if reason == PADDING_UNTESTED => {}
            Err(reason) => tracing::warn!(
                model,
                version,
                reason,
                "served without padding although it is declared"
            ),
        }
        self.batcher.conclude_padding(result);
    }

    /// Returns why requests are not padded although that is declared.
    pub(crate) fn unpadded(&self) -> Option<String> {
        self.batcher.unpadded()
    }

    /// The signature of the graph, of which clients may see other shapes.
    pub(crate) fn graph_signature(&self) -> Signature {
        let shown = self.signature.clone();
        match &self.declared.reshapes {
            Some(reshapes) => reshapes.of_graph(shown),
            None => shown,
        }
    }

    /// Tells whether a request has rows, up to a limit: not where each runs alone from the start.
    pub(crate) fn has_rows(&self) -> bool {
        self.options.batched && !self.batcher.holds_merging()
    }

    /// Returns why requests are not merged, unless that is plain from the configuration or from the
    /// shapes of the signature.
    pub(crate) fn unbatched(&self) -> Option<String> {
        let is_plain = |reason: &String| {
            let fixed = self.signature.why_unsplit();
            reason == BATCHING_OFF || reason == UNTESTED || fixed.as_ref() == Some(reason)
        };
        match self.batching() {
            Batching::Alone(reason) => Some(reason).filter(|reason| !is_plain(reason)),
            _ => None,
        }
    }

    /// Tells whether a batch runs now.
    pub(crate) fn is_running(&self) -> bool {
        self.batcher.is_running()
    }

    /// Names the tensors of a request.
    pub(crate) fn named(&self, inputs: &CheckedInputs) -> NamedTensors {
        let names = self.signature.inputs.iter().map(|spec| spec.name.clone());
        let required = names.zip(inputs.required.iter().cloned());
        let optional = inputs.optional.iter();
        required
            .chain(optional.map(|given| (given.name.clone(), given.tensor.clone())))
            .collect()
    }

    /// Finds what computes an output.
    pub(crate) fn end_of(&self, output: &str) -> Option<&OutputEnd> {
        let mut outputs = self.signature.outputs.iter();
        let at = outputs.position(|spec| spec.name == output)?;
        self.ends.get(at)
    }

    /// Returns the name of output `at`, shared with responses.
    pub(crate) fn output_name(&self, at: usize) -> Arc<str> {
        Arc::clone(&self.output_names[at])
    }
}

/// Returns how the batches of a version are rechecked; none if they are not.
fn recheck(parts: &ServableParts) -> Option<RecheckOptions> {
    let outputs = parts.signature.outputs.iter().map(|o| o.name.clone());
    (!parts.recheck.is_zero()).then(|| RecheckOptions {
        model: parts.name.clone(),
        version: parts.version,
        outputs: outputs.collect(),
        interval: parts.recheck,
    })
}
