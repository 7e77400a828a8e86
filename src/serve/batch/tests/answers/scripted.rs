//! Sessions whose runs are known, and end when and how a test says.

use super::*;
use crate::core::tensor::{View, ViewData, read_all};
use crate::onnx::runtime::Session;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::AtomicBool;

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunVerdict {
    /// It answers its inputs, or fails if one is negative.
    Honest,
    Panic,
}

/// One run.
#[derive(Clone, Debug)]
pub(super) struct KnownRun {
    /// The first input.
    pub(super) values: Vec<f32>,
    verdict: Option<RunVerdict>,
    has_ended: bool,
}

/// The runs of all sessions of a batcher, in order.
#[derive(Default)]
pub(super) struct KnownRuns {
    runs: Mutex<Vec<KnownRun>>,
    changed: Condvar,
    /// Whether runs end by themselves.
    is_free: AtomicBool,
}

impl KnownRuns {
    pub(super) fn all(&self) -> Vec<KnownRun> {
        self.runs.lock().clone()
    }

    /// The numbers of the runs that have not ended.
    pub(super) fn open(&self) -> Vec<usize> {
        let runs = self.runs.lock();
        let numbered = runs.iter().enumerate();
        let open = numbered.filter(|(_, run)| !run.has_ended);
        open.map(|(number, _)| number).collect()
    }

    pub(super) fn end(&self, number: usize, verdict: RunVerdict) {
        self.runs.lock()[number].verdict = Some(verdict);
        self.changed.notify_all();
    }

    /// From now on all runs end by themselves.
    pub(super) fn free(&self) {
        let _runs = self.runs.lock();
        self.is_free.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn run(&self, values: Vec<f32>) -> RunVerdict {
        let mut runs = self.runs.lock();
        let number = runs.len();
        runs.push(KnownRun {
            values,
            verdict: None,
            has_ended: false,
        });
        while runs[number].verdict.is_none() && !self.is_free.load(Ordering::Relaxed) {
            self.changed.wait(&mut runs);
        }
        runs[number].has_ended = true;
        runs[number].verdict.unwrap_or(RunVerdict::Honest)
    }
}

/// A session of a walk.
pub(super) struct KnownSession(pub(super) Arc<KnownRuns>);

impl Session for KnownSession {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        let values = values(&inputs[0]);
        if self.0.run(values.clone()) == RunVerdict::Panic {
            panic!("scripted panic");
        }
        echo(&inputs[0], &values)
    }

    fn provider(&self) -> &'static str {
        "fake"
    }
}

pub(super) fn values(view: &View<'_>) -> Vec<f32> {
    match view.data {
        ViewData::Fixed(bytes) => read_all(bytes, f32::from_le_bytes),
        ViewData::Strings(_) => Vec::new(),
    }
}

/// Answers the input; fails if a value is negative.
pub(super) fn echo(view: &View<'_>, values: &[f32]) -> Result<Vec<Tensor>> {
    if values.iter().any(|value| *value < 0.0) {
        return Err(Error::invalid("the model refused these inputs: poison"));
    }
    Ok(vec![Tensor::from_f32(view.shape.to_vec(), values)?])
}
