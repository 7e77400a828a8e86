//! Loads a version: opens its sessions, finds out whether requests may be merged, checks golden
//! rows and warms up. Blocks; runs on the manager's thread, never on one that serves requests.

mod decide;
mod invariant;
pub(in crate::serve) mod lanes;
mod shapes;
mod warm;

use super::batch_tests::{BatchTest, BatchTests};
use super::{ManagerParts, Settings};
use crate::core::count::counted;
use crate::core::error::{Error, Result, short};
use crate::core::model::columns::InputColumns;
use crate::core::model::task::{OutputEnd, Task, TaskKind};
use crate::core::model::{Dim, ModelName, Signature, Version};
use crate::core::request::TIMEOUT_MAX;
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::observer::offer::Observer;
use crate::observe::drift::watch;
use crate::observe::quality::companion::{Companion, Wiring};
use crate::onnx::batchability::SampleInputs;
use crate::onnx::first_run::Passed;
use crate::onnx::golden::Golden;
use crate::onnx::graph::Graph;
use crate::onnx::runtime::warnings::RuntimeWarnings;
use crate::onnx::runtime::{Engine, Session, SessionOptions, SessionSource};
use crate::registry::directory::Loaded;
use crate::serve::batch::input_axes::InputAxes;
use crate::serve::batch::watchdog::Watchdog;
use crate::serve::batch::{BatchOptions, cost::BatchCost};
use crate::serve::explanations::VersionExplanation;
use crate::serve::reshapes::Reshapes;
use crate::serve::servable::{self, Batching, DeclaredSettings, Drained, Servable};
use crate::serve::settings;
pub(super) use decide::subject;
use lanes::{LaneSessions, Reopening, number_of_lanes};
use shapes::warm_shapes;
use std::sync::Arc;
use std::time::Duration;
use warm::{Warm, warm};

/// Returns the rows of the largest run for which a model is prepared.
pub(super) fn largest_batch(settings: &Settings, is_batched: bool) -> usize {
    if is_batched {
        settings.model.batch_rows_max as usize
    } else {
        1
    }
}

/// A version that is being loaded.
pub(super) struct Loading<'l> {
    pub name: &'l ModelName,
    pub version: Version,
    pub settings: &'l Settings,
    pub parts: &'l ManagerParts,
    pub watchdog: &'l Watchdog,
    pub tests: &'l BatchTests,
    /// The first run in the sandbox, if there was one.
    pub passed: Option<Passed>,
}

impl Loading<'_> {
    /// Opens the sessions, decides about batching, checks golden rows and warms up.
    pub(super) fn load(&self, mut loaded: Loaded) -> Result<(Arc<Servable>, Drained)> {
        self.complete(&mut loaded)?;
        let signature = loaded.graph.signature.clone();
        // A baseline or companion that belongs to another model refuses the version before any
        // session is opened.
        let task = self.task(&loaded)?;
        let observer = self.watch(&loaded, task.as_ref())?;
        let columns = self.columns(&loaded)?;
        let explanation = self.explanation(&mut loaded);
        let model = self.undecided(&loaded)?;
        let options = self.session_options();
        let reopening = Reopening::new(self.parts, &loaded, &options);

        let source = SessionSource {
            bytes: std::mem::take(&mut loaded.bytes),
            external_dir: loaded.external_dir.clone(),
        };
        let engine = self.parts.engine.as_ref();
        let mut lanes = LaneSessions::open(engine, &source, &options)?;

        let session = lanes.sessions[0].as_mut();
        let decision = self.decide(&model, session);
        let decision = self.with_invariant_sizes(decision, &model, session);
        let number = self.lanes(&lanes);
        lanes.fill(engine, &source, &options, number)?;
        // Only the sessions need the weights from here on.
        drop(source);
        let (distinct, shared, mut sessions) = (lanes.distinct(), lanes.shared, lanes.sessions);
        if let Some(golden) = loaded.golden.as_ref().filter(|_| self.settings.golden) {
            check_golden(golden, &signature, &mut sessions)?;
        }

        let (batching, is_open) = (decision.batching.clone(), decision.is_open);
        let rows_max = largest_batch(self.settings, batching.is_joined());
        // The test may allow it while the version serves.
        let batched = decision.may_be_joined();
        let may_fill = batched && decision.sizes.is_none() && model.plan.is_none();
        let sample = decision.sample.as_ref();
        let warm = warmed(sample, &mut sessions[..distinct], rows_max, may_fill)?;

        self.say(&batching);

        let is_bounded = loaded.graph.runs_in_bounded_time();
        let in_place = is_bounded && !is_open && self.runs_in_place(&signature, batched, &warm);
        let options = BatchOptions {
            in_place,
            sizes: decision.sizes,
            shape_change: warm.change,
            padding: model.plan.clone(),
            inputs: input_axes(&loaded.graph),
            ..self.options(&signature, batched, warm.cost)
        };
        let (declared, signature) = self.declared(signature);
        let parts = servable::ServableParts {
            name: self.name.clone(),
            version: self.version,
            digest: loaded.digest,
            signature,
            ends: std::mem::take(&mut loaded.graph.ends),
            columns,
            task,
            batching,
            padding: model.plan.is_some().then_some(decision.padding),
            sessions,
            reopen: reopening.with(shared),
            options,
            recheck: self.settings.model.batch_recheck,
            request_timeout: self.settings.model.request_timeout,
            metrics: self.parts.metrics.servable(self.name, self.version),
            observer,
            explanation,
            declared,
        };

        let (servable, drained) = Servable::start(parts, self.watchdog)?;
        if is_open || decision.is_padding_open {
            let mut test = BatchTest::of(&loaded, self.settings, model.known);
            test.is_open = is_open;
            self.tests.add(test, &servable);
        }
        Ok((servable, drained))
    }

    /// What the configuration says, and the signature that clients see.
    fn declared(&self, signature: Signature) -> (DeclaredSettings, Signature) {
        let declared = &self.settings.declared;
        let labelled = declared.outputs.iter();
        let labelled = labelled.filter_map(|o| Some((o.name.clone(), o.label_file.clone()?)));
        let reshapes = Reshapes::of(declared, &signature);
        let shown = match &reshapes {
            Some(reshapes) => reshapes.shown(signature),
            None => signature,
        };
        let settings = DeclaredSettings {
            is_whole: declared.unbatched,
            rows_max: declared.batch_rows_max,
            versions: self.settings.model.version_policy.clone(),
            model_file: declared.model_filename.clone(),
            label_files: labelled.collect(),
            queue_rows_max: declared.queue_rows_max,
            queue_timeout: declared.queue_timeout,
            intra_op_threads: declared.intra_op_threads,
            reshapes,
        };
        (settings, shown)
    }

    fn session_options(&self) -> SessionOptions {
        SessionOptions {
            warnings: RuntimeWarnings::about(self.name, self.version),
            ..self.settings.model.session_options()
        }
    }

    /// Completes what the file declares by what the first run and the configuration tell.
    fn complete(&self, loaded: &mut Loaded) -> Result<()> {
        self.follow_answers(loaded);
        // Now their shapes are the real ones.
        let declared = &self.settings.declared;
        declared.check_outputs(&loaded.graph.signature)?;
        self.name_classes(&mut loaded.graph)
    }

    /// Replaces the declared shapes of outputs that the first run contradicts.
    fn follow_answers(&self, loaded: &mut Loaded) {
        let Some(passed) = &self.passed else {
            return;
        };
        for replaced in loaded.graph.follow(&passed.generated.answered) {
            tracing::info!(
                model = self.name.as_str(),
                version = self.version.number(),
                output = replaced.output,
                declared = ?replaced.declared,
                answered = ?replaced.answered,
                "the shape of an output is that of its answers, not the one that the file declares"
            );
        }
    }

    /// Names the classes of outputs as the label files of the configuration do.
    fn name_classes(&self, graph: &mut Graph) -> Result<()> {
        let outputs = self.settings.declared.outputs.iter();
        for declared in outputs.filter(|output| !output.labels.is_empty()) {
            let mut all = graph.signature.outputs.iter().enumerate();
            let Some((at, spec)) = all.find(|(_, spec)| spec.name == declared.name) else {
                continue;
            };
            let labels = declared.labels.len();
            if let Some(Dim::Fixed(columns)) = spec.shape.as_deref().and_then(<[Dim]>::last)
                && *columns != labels
            {
                let output = short(&declared.name);
                return Err(Error::precondition(format!(
                    "config.pbtxt: output '{output}' has {}, and its label file {}",
                    counted(*columns, "column"),
                    counted(labels, "line")
                )));
            }
            if graph.ends.len() <= at {
                graph.ends.resize(at + 1, OutputEnd::default());
            }
            graph.ends[at].classes.clone_from(&declared.labels);
        }
        Ok(())
    }

    /// The number of lanes on the hardware of the first.
    fn lanes(&self, opened: &LaneSessions) -> usize {
        let model = &self.settings.model;
        let provider = opened.sessions[0].provider();
        number_of_lanes(
            model.lanes,
            model.intra_op_threads,
            provider,
            self.parts.cores,
        )
    }

    /// Tells whether I/O threads make the runs, if no request can make them longer.
    fn runs_in_place(&self, signature: &Signature, batched: bool, warm: &Warm) -> bool {
        // A request that runs alone may have any number of rows that fits into a message.
        let is_limited = batched || all_fixed(signature);
        is_limited
            && warm.change.is_none()
            && warm.largest.is_some_and(|took| took <= IN_PLACE_MAX)
            && self.settings.model.batch_delay.is_zero()
    }

    fn options(&self, signature: &Signature, batched: bool, cost: BatchCost) -> BatchOptions {
        // What was measured holds for requests of these shapes.
        let cost = match signature.has_fixed_inner_axes() {
            true => cost,
            false => BatchCost::default(),
        };
        BatchOptions {
            batched,
            batch_rows_max: self.settings.model.batch_rows_max as usize,
            sizes: None,
            queue_rows_max: self.settings.model.queue_rows_max as usize,
            queue_timeout: match self.settings.model.queue_timeout {
                Duration::ZERO => TIMEOUT_MAX,
                timeout => timeout,
            },
            batch_delay: self.settings.model.batch_delay,
            cost,
            learns: batched,
            in_place: false,
            shape_change: None,
            lane_niceness: self.parts.lane_niceness,
            padding: None,
            inputs: Arc::default(),
        }
    }

    fn task(&self, loaded: &Loaded) -> Result<Option<Task>> {
        let graph = &loaded.graph;
        Task::find(&graph.signature, &graph.ends, &self.settings.model.wish())
    }

    /// Finds the names of the input columns. Refuses configured ones that do not fit; others that do not fit
    /// are left out.
    fn columns(&self, loaded: &Loaded) -> Result<InputColumns> {
        let signature = &loaded.graph.signature;
        let configured = &self.settings.model.features;
        if !configured.is_empty() {
            return InputColumns::of(signature, configured);
        }
        let features = match loaded.baseline.as_deref() {
            Some(baseline) if loaded.features.is_empty() => Baseline::read(baseline)?.features,
            _ => loaded.features.clone(),
        };
        InputColumns::of(signature, &features).or_else(|_| InputColumns::of(signature, &[]))
    }

    /// Reads what explains predictions. A version serves without it too.
    fn explanation(&self, loaded: &mut Loaded) -> VersionExplanation {
        let read = VersionExplanation::read(loaded.explanation.take(), &loaded.graph.signature);
        let (model, version) = (self.name.as_str(), self.version.number());
        match &read {
            VersionExplanation::None => {}
            VersionExplanation::Broken(reason) => tracing::warn!(
                model,
                version,
                reason,
                "served without explanations: the file cannot be used"
            ),
            VersionExplanation::Ready(explained) => {
                let memory_bytes = explained.memory_bytes();
                tracing::debug!(model, version, memory_bytes, "predictions can be explained");
            }
        }
        read
    }

    /// Starts the monitoring of the version, where monitoring is on.
    fn watch(&self, loaded: &Loaded, task: Option<&Task>) -> Result<Option<Observer>> {
        let Some(monitor) = &self.parts.monitor else {
            return Ok(None);
        };
        let baseline = loaded.baseline.as_deref().map(Baseline::read).transpose()?;
        if let Some(note) = baseline
            .as_ref()
            .and_then(|baseline| monitor.coarse(baseline))
        {
            let (model, version) = (self.name.as_str(), self.version.number());
            tracing::info!(model, version, note, "the baseline is small");
        }
        let subject = watch::WatchSubject {
            model: self.name.clone(),
            version: self.version,
            digest: loaded.digest,
            signature: loaded.graph.signature.clone(),
            features: match self.settings.model.features.as_slice() {
                [] => loaded.features.clone(),
                features => features.to_vec(),
            },
            baseline,
            task: task.cloned(),
            slices: self.settings.model.slices.clone(),
            rules: self.settings.model.monitor.clone(),
        };

        let wished = self.settings.model.task;
        let companion = companion(loaded, &subject, wished, self.parts.engine.as_ref())?;
        monitor.watch(subject, companion).map(Some)
    }

    /// Logs what an operator may not expect.
    fn say(&self, batching: &Batching) {
        let (model, version) = (self.name.as_str(), self.version.number());
        let is_wished = self.settings.model.batching == settings::Batching::On;
        match batching {
            Batching::Joined => {}
            Batching::Forced(reason) => tracing::warn!(
                model,
                version,
                reason,
                "batching is on in the configuration although rows of different requests may influence each other"
            ),
            Batching::Alone(reason) if is_wished => tracing::warn!(
                model,
                version,
                reason,
                "served without batching although it is on in the configuration"
            ),
            Batching::Alone(reason) => {
                tracing::info!(model, version, reason, "served without batching");
            }
        }
    }
}

/// Warms the sessions up. Where batches may be filled up, finds out whether that is worth while.
fn warmed(
    sample: Option<&SampleInputs>,
    sessions: &mut [Box<dyn Session>],
    rows_max: usize,
    may_fill: bool,
) -> Result<Warm> {
    let Some(sample) = sample else {
        return Ok(Warm::default());
    };
    if may_fill && let Some(kept) = warm_shapes(sample, sessions, rows_max)? {
        return Ok(kept);
    }
    warm(sample, sessions, rows_max)
}

/// Checks the golden rows: all of them in the first session, and one in each other session of the
/// same model, to see that it runs.
fn check_golden(
    golden: &bytes::Bytes,
    signature: &Signature,
    sessions: &mut [Box<dyn Session>],
) -> Result<()> {
    let golden = Golden::read(golden)?;
    for (lane, session) in sessions.iter_mut().enumerate() {
        let rows_max = if lane == 0 { usize::MAX } else { 1 };
        golden.check(signature, session.as_mut(), rows_max)?;
    }
    Ok(())
}

/// The names of inputs and of their axes.
fn input_axes(graph: &Graph) -> Arc<InputAxes> {
    let names = graph.signature.inputs.iter();
    Arc::new(InputAxes {
        names: names.map(|input| input.name.clone()).collect(),
        axes: graph.axis_names.inputs.clone(),
    })
}

/// Tells whether every axis of every input is fixed.
fn all_fixed(signature: &Signature) -> bool {
    let mut dims = signature
        .inputs
        .iter()
        .flat_map(|i| i.shape.iter().flatten());
    dims.all(|dim| *dim != Dim::Dynamic)
}

/// Opens the companion model, if there is one. Refuses it for a model that is not a regression
/// model.
fn companion(
    loaded: &Loaded,
    subject: &watch::WatchSubject,
    wished: Option<TaskKind>,
    engine: &dyn Engine,
) -> Result<Option<Companion>> {
    let Some(bytes) = loaded
        .companion
        .clone()
        .filter(|_| wished != Some(TaskKind::Neither))
    else {
        return Ok(None);
    };

    let wiring = Wiring::read(&subject.signature, bytes.clone())?;
    if !matches!(subject.task, Some(Task::Regression(_))) {
        return Err(Error::precondition(
            "the version has a companion model, but it is not a regression model; set its task to regression, or push it without the companion",
        ));
    }

    let session = engine.open(
        &SessionSource {
            bytes,
            external_dir: None,
        },
        &SessionOptions::single(),
    )?;

    Ok(Some(Companion::new(session, wiring)))
}

/// A model whose largest batch takes at most this long runs on the I/O thread, if no request can
/// make it take longer: the thread serves other requests too.
const IN_PLACE_MAX: Duration = Duration::from_micros(300);
