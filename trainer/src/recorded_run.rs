//! Runs the pipeline once, and stores the record in the history, whatever the result.

use crate::command::LastOutput;
use crate::context::{RunOutcome, Trainer, Watcher};
use crate::event_key::EventKey;
use crate::history::{MANUAL, RecordedRun, RunHistory, RunStatus};
use crate::pipeline::run;
use crate::record::RunRecord;
use crate::spec::Spec;
use ortus::core::error::{Error, Kind, Result};
use std::time::Instant;

/// Why the run is started.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    /// The reason, for a person.
    pub trigger: String,
    /// The events that it handles.
    pub events: Vec<EventKey>,
    /// Whether it does not count for triggers.
    pub apart: bool,
}

impl Cause {
    /// Makes the cause of a run that a person started.
    pub(crate) fn manual() -> Self {
        Self {
            trigger: MANUAL.to_owned(),
            events: Vec::new(),
            apart: false,
        }
    }
}

/// Runs the pipeline and stores the record; the last result is an error if it is
/// not stored. A run that ends because the registry or a source is unavailable
/// handles no event, so that it is tried again.
pub(crate) async fn attempt(
    trainer: &Trainer<'_>,
    spec: &Spec,
    cause: Cause,
    history: &RunHistory,
    watcher: &mut dyn Watcher,
) -> (RecordedRun, Result<RunOutcome>, Result<()>) {
    let (began, clock) = (chrono::Utc::now(), Instant::now());
    let trainer = Trainer {
        trigger: Some(&cause.trigger),
        ..*trainer
    };
    let ended = run(&trainer, spec, watcher).await;
    let status = match &ended {
        Ok(outcome) => outcome.status,
        Err(_) => RunStatus::Broken,
    };

    let record = match &ended {
        Ok(outcome) => outcome.record.clone(),
        Err(error) => broken(spec, error),
    };
    let Cause {
        trigger,
        mut events,
        apart,
    } = cause;

    if matches!(&ended, Err(error) if error.kind == Kind::Unavailable) {
        events.clear();
    }
    let seconds = clock.elapsed().as_secs_f64();
    let ran = RecordedRun {
        model: spec.model.name.clone(),
        began,
        seconds,
        trigger,
        events,
        apart,
        status,
        record,
    };

    let kept = history.keep(&ran).await;
    (ran, ended, kept)
}

/// Makes the record of a run that ended with an error.
fn broken(spec: &Spec, error: &Error) -> RunRecord {
    let source = std::error::Error::source(error);
    let said = source.and_then(|source| source.downcast_ref::<LastOutput>());
    RunRecord {
        error: error.message.clone().into(),
        said: said.map(|LastOutput(text)| text.clone()).into(),
        spec: spec.canonical().into(),
        ..RunRecord::default()
    }
}
