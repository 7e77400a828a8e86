//! Decides whether the requests of a version are merged: from its configuration, from its graph, and
//! from the test of its rows, which is made while the version serves where its first run is made in
//! the sandbox.

use super::{Loading, largest_batch};
use crate::core::error::{Error, Result};
use crate::core::model::Signature;
use crate::core::model::padding::PaddingPlan;
use crate::core::tensor::Tensor;
use crate::onnx::batchability::invariance::InvariantSizes;
use crate::onnx::batchability::{
    self, BatchSubject, KnownInputs, PaddingSubject, SampleInputs, check_padding,
};
use crate::onnx::first_run::{FirstRunSubject, GeneratedRuns, GoldenRows, Passed};
use crate::onnx::rows::{self, RowVerdict};
use crate::onnx::runtime::{Session, SessionOptions};
use crate::registry::directory::Loaded;
use crate::serve::batch::padder::PADDING_UNTESTED;
use crate::serve::manager::batch_tests::{padding_tested, tested};
use crate::serve::manager::{Settings, known};
use crate::serve::servable::{BATCHING_OFF, Batching, UNMERGED, UNTESTED};
use crate::serve::settings;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Time for generated inputs in this process, where there is no sandbox.
pub(super) const GENERATED_MAX: Duration = Duration::from_secs(5);

/// Describes the model for its first run, in the sandbox.
pub(in crate::serve::manager) fn subject<'l>(
    loaded: &'l Loaded,
    settings: &'l Settings,
    options: &'l SessionOptions,
) -> FirstRunSubject<'l> {
    let golden = loaded.golden.as_deref().filter(|_| settings.golden);
    FirstRunSubject {
        digest: loaded.digest,
        bytes: &loaded.bytes,
        external_dir: loaded.external_dir.as_deref(),
        options,
        rows: largest_batch(settings, settings.model.batching != settings::Batching::Off),
        // A model that hangs on them hangs there.
        golden: golden.map_or(GoldenRows::Skip, GoldenRows::Compare),
        padding: settings.model.padding.as_ref(),
    }
}

/// What was decided at load.
pub(super) struct Decision {
    pub batching: Batching,
    /// Generated inputs that the model accepts.
    pub sample: Option<SampleInputs>,
    /// Whether the test decides later.
    pub is_open: bool,
    /// The sizes that batches have; any, if it is none.
    pub sizes: Option<InvariantSizes>,
    /// Whether requests are padded, where that is declared; the error says why not.
    pub padding: PaddingResult,
    /// Whether the test decides about padding later.
    pub is_padding_open: bool,
}

/// Whether requests are padded; the error says why not.
pub(super) type PaddingResult = std::result::Result<(), String>;

impl Decision {
    /// A model of which nothing is merged, or about which nothing can be tested.
    fn final_one(batching: Batching, sample: Option<SampleInputs>) -> Self {
        let why = match &batching {
            Batching::Alone(_) => UNMERGED.to_owned(),
            Batching::Forced(reason) => reason.clone(),
            Batching::Joined => PADDING_UNTESTED.to_owned(),
        };
        Self {
            batching,
            sample,
            is_open: false,
            sizes: None,
            padding: Err(why),
            is_padding_open: false,
        }
    }

    /// Tells whether requests are merged, or may be later.
    pub(super) fn may_be_joined(&self) -> bool {
        self.batching.is_joined() || self.is_open
    }
}

/// A model about whose batching nothing was decided yet.
pub(super) struct Undecided {
    pub signature: Signature,
    pub verdict: RowVerdict,
    /// How requests are padded, if that is declared.
    pub plan: Option<Arc<PaddingPlan>>,
    /// Read only where the test needs them.
    pub known: KnownInputs,
    /// What the test found when the same model was loaded before.
    tested: Option<Passed>,
}

impl Loading<'_> {
    /// Reads what the graph proves, and else what was found before. Refuses padding that does not fit the
    /// graph.
    pub(super) fn undecided(&self, loaded: &Loaded) -> Result<Undecided> {
        let signature = loaded.graph.signature.clone();
        let padding = self.settings.model.padding.as_ref();
        let names = &loaded.graph.axis_names;
        let plan = padding.map(|padding| PaddingPlan::resolve(padding, &signature, names));
        let plan = plan.transpose()?.map(Arc::new);
        let verdict = rows::analyse(&loaded.bytes);
        let (mut known, mut tested) = (KnownInputs::default(), None);
        if matches!(verdict, RowVerdict::Unknown(_)) || plan.is_some() {
            known = known::inputs(loaded, &signature);
            let options = self.settings.model.session_options();
            let subject = subject(loaded, self.settings, &options);
            let prober = self.parts.probe.as_ref();
            tested = prober.and_then(|prober| prober.tested(&subject, &known));
        }
        Ok(Undecided {
            signature,
            verdict,
            plan,
            known,
            tested,
        })
    }

    /// Decides about batching, or that the test decides later.
    pub(super) fn decide(&self, model: &Undecided, session: &mut dyn Session) -> Decision {
        let wished = self.settings.model.batching;
        let passed = self.passed.as_ref();
        let sample = match sample(model, passed, session) {
            Ok(sample) => sample,
            Err(reason) => {
                let batching = match wished {
                    settings::Batching::On if model.signature.has_dynamic_first_axis() => {
                        Batching::Forced(reason)
                    }
                    _ => Batching::Alone(reason),
                };
                return Decision::final_one(batching, None);
            }
        };
        if wished == settings::Batching::Off {
            let off = Batching::Alone(BATCHING_OFF.to_owned());
            return Decision::final_one(off, Some(sample));
        }

        let is_open = matches!(&model.verdict, RowVerdict::Unknown(_))
            && model.signature.why_unsplit().is_none()
            && passed.is_some();
        let checked = match (&model.tested, is_open) {
            (Some(passed), true) => tested(passed),
            (None, true) => Err(Error::invalid(UNTESTED)),
            (_, false) => test_here(model, &sample, session),
        };
        let batching = match checked {
            Ok(()) => Batching::Joined,
            Err(error) if wished == settings::Batching::Auto => Batching::Alone(error.message),
            Err(error) if can_be_split(&model.signature, &sample, session) => {
                Batching::Forced(error.message)
            }
            Err(error) => Batching::Alone(format!(
                "batching is on in the configuration, but {}",
                error.message
            )),
        };
        let is_open = is_open && model.tested.is_none();
        let is_padding_open = model.plan.is_some() && passed.is_some() && model.tested.is_none();
        let padding = match (&model.tested, &model.plan) {
            _ if !batching.is_joined() && !is_open => Err(UNMERGED.to_owned()),
            (Some(passed), Some(_)) => padding_tested(passed),
            (None, Some(plan)) if !is_padding_open => {
                test_padding_here(model, plan, &sample, session)
            }
            _ => Err(PADDING_UNTESTED.to_owned()),
        };
        Decision {
            is_padding_open: is_padding_open && (batching.is_joined() || is_open),
            batching,
            sample: Some(sample),
            is_open,
            sizes: None,
            padding,
        }
    }
}

/// The generated inputs of a first run; without one, those that the session accepts now.
fn sample(
    model: &Undecided,
    passed: Option<&Passed>,
    session: &mut dyn Session,
) -> std::result::Result<SampleInputs, String> {
    let refuses = |why: &str| format!("the model refuses generated inputs: {why}");
    let Some(Passed { generated, .. }) = passed else {
        return within(GENERATED_MAX, session, |session| {
            SampleInputs::find(&model.signature, session)
        })
        .map_err(|error| refuses(&error.message));
    };
    match generated {
        GeneratedRuns {
            size: Some(size),
            integers,
            ..
        } => Ok(SampleInputs::of_size(&model.signature, *size, *integers)),
        GeneratedRuns {
            refused, is_slow, ..
        } => {
            let why = refused.as_deref().unwrap_or("they were not run");
            Err(match is_slow {
                true => format!("served unprobed: {why}"),
                false => refuses(why),
            })
        }
    }
}

/// Decides in this process: from the graph, and else by a test.
fn test_here(model: &Undecided, sample: &SampleInputs, session: &mut dyn Session) -> Result<()> {
    let subject = BatchSubject {
        signature: &model.signature,
        verdict: &model.verdict,
        sample,
        known: &model.known,
    };
    within(GENERATED_MAX, session, |session| {
        batchability::check(&subject, session)
    })
}

/// Tests padding in this process.
fn test_padding_here(
    model: &Undecided,
    plan: &PaddingPlan,
    sample: &SampleInputs,
    session: &mut dyn Session,
) -> PaddingResult {
    let subject = PaddingSubject {
        signature: &model.signature,
        plan,
        size: sample.size(),
    };
    let tested = within(GENERATED_MAX, session, |session| {
        check_padding(&subject, session)
    });
    tested.map_err(|error| error.message)
}

/// Does some runs, and ends them between two nodes when the time is up.
fn within<T>(
    most: Duration,
    session: &mut dyn Session,
    runs: impl FnOnce(&mut dyn Session) -> Result<T>,
) -> Result<T> {
    let Some(terminator) = session.terminator() else {
        return runs(session);
    };
    std::thread::scope(|scope| {
        let (done, ended) = channel::<Infallible>();
        let ending = std::sync::Arc::clone(&terminator);
        let watching = scope.spawn(move || {
            let is_late = ended.recv_timeout(most) == Err(RecvTimeoutError::Timeout);
            if is_late {
                ending.terminate();
            }
            is_late
        });
        let result = runs(session);
        drop(done);
        let was_late = watching.join().unwrap_or(false);
        terminator.reset();
        match was_late {
            true => Err(Error::invalid(format!(
                "runs on generated inputs took over {most:?}"
            ))),
            false => result,
        }
    })
}

/// Whether the answer to two rows has two rows, so that it can be split.
fn can_be_split(signature: &Signature, sample: &SampleInputs, session: &mut dyn Session) -> bool {
    let has_both = |outputs: Vec<Tensor>| outputs.iter().all(|output| output.rows() == Some(2));
    signature.has_dynamic_first_axis() && sample.run(session, 2).is_ok_and(has_both)
}
