//! Scripted sessions for tests: they echo, fail on a marked row, panic, or block
//! until a token arrives or the run is terminated.

use super::{Session, Terminate};
use crate::core::error::{Error, Result};
use crate::core::model::optional::OptionalTensor;
use crate::core::tensor::{Data, Tensor, View, ViewData, read_all};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// What a fake session does with its first input.
#[derive(Clone)]
pub(crate) enum Script {
    /// Answers its inputs.
    Echo,
    /// Refuses a batch that contains this FP32 value; echoes otherwise.
    FailOn(f32),
    /// Takes one token per run; echoes. Termination does not end its runs.
    Gate(Arc<Mutex<Receiver<()>>>),
    /// Runs until it is terminated, then fails.
    Endless(Arc<Flag>),
    /// Panics.
    Panic,
    /// Divides its values by the largest of the run, if that is over 1: rows influence each other.
    Scaled,
    /// Adds the number of runs before it: no answer comes twice.
    Drawn,
    /// Adds this number for each row of the run.
    Sized(f32),
    /// Echoes several rows, and runs on one row until it is terminated.
    EndlessAlone(Arc<Flag>),
}

/// The terminate flag of a fake session.
#[derive(Default)]
pub(crate) struct Flag {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Flag {
    fn wait(&self) {
        let mut is_set = self.is_set.lock();
        while !*is_set {
            self.changed.wait(&mut is_set);
        }
    }
}

impl Terminate for Flag {
    fn terminate(&self) {
        *self.is_set.lock() = true;
        self.changed.notify_all();
    }

    fn reset(&self) {
        *self.is_set.lock() = false;
    }
}

/// A session that records the shape of every run.
pub(crate) struct FakeSession {
    /// What it does.
    pub script: Script,
    /// The first dimension of the first input, run by run.
    pub runs: Arc<Mutex<Vec<usize>>>,
}

impl Session for FakeSession {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        let rows = inputs[0].shape.first().copied().unwrap_or(0);
        let before = self.runs.lock().len() as f32;
        self.runs.lock().push(rows);
        match &self.script {
            Script::Echo => {}
            Script::Scaled => {
                let largest = values(&inputs[0]).into_iter().fold(1.0, f32::max);
                return changed(&inputs[0], |x| x / largest);
            }
            Script::Drawn => return changed(&inputs[0], |x| x + before),
            Script::Sized(step) => return changed(&inputs[0], |x| x + step * rows as f32),
            Script::EndlessAlone(flag) if rows == 1 => {
                flag.wait();
                return Err(Error::internal("terminated"));
            }
            Script::EndlessAlone(_) => {}
            Script::Gate(tokens) => {
                let _ = tokens.lock().recv();
            }
            Script::Endless(flag) => {
                flag.wait();
                return Err(Error::internal("terminated"));
            }
            Script::Panic => panic!("scripted panic"),
            Script::FailOn(poison) => {
                let ViewData::Fixed(bytes) = inputs[0].data else {
                    return Err(Error::internal("strings"));
                };
                if bytes.chunks_exact(4).any(|b| b == poison.to_le_bytes()) {
                    return Err(Error::invalid("the model refused these inputs: poison"));
                }
            }
        }

        inputs.iter().map(owned).collect()
    }

    /// Answers the optional inputs after the required ones.
    fn run_with(
        &mut self,
        inputs: &[View<'_>],
        optional: &[OptionalTensor],
    ) -> Result<Vec<Tensor>> {
        let mut outputs = self.run(inputs)?;
        outputs.extend(optional.iter().map(|given| given.tensor.clone()));
        Ok(outputs)
    }

    fn provider(&self) -> &'static str {
        "fake"
    }

    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        match &self.script {
            Script::Endless(flag) | Script::EndlessAlone(flag) => {
                Some(Arc::clone(flag) as Arc<dyn Terminate>)
            }
            _ => None,
        }
    }
}

/// Reads FP32 values.
fn values(view: &View<'_>) -> Vec<f32> {
    match view.data {
        ViewData::Fixed(bytes) => read_all(bytes, f32::from_le_bytes),
        ViewData::Strings(_) => Vec::new(),
    }
}

/// Answers FP32 values, each changed.
fn changed(view: &View<'_>, change: impl Fn(f32) -> f32) -> Result<Vec<Tensor>> {
    let values: Vec<f32> = values(view).into_iter().map(change).collect();
    Ok(vec![Tensor::from_f32(view.shape.to_vec(), &values)?])
}

fn owned(view: &View<'_>) -> Result<Tensor> {
    match view.data {
        ViewData::Fixed(bytes) => Tensor::fixed(
            view.dtype,
            view.shape.to_vec(),
            Bytes::copy_from_slice(bytes),
        ),
        ViewData::Strings(strings) => Tensor::strings(view.shape.to_vec(), strings.clone()),
    }
}

/// Reads an FP32 tensor back.
pub(crate) fn floats(tensor: &Tensor) -> Vec<f32> {
    match tensor.data() {
        Data::Fixed(bytes) => bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        Data::Strings(_) => Vec::new(),
    }
}
