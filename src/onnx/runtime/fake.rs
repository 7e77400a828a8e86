//! Scripted sessions for tests: they echo, sleep, fail on a marked row, or
//! block until told.

use super::Session;
use crate::core::error::{Error, Result};
use crate::core::tensor::{Data, Tensor, View, ViewData};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// What a fake session does with its first input.
#[derive(Clone)]
pub(crate) enum Script {
    /// Answers its inputs.
    Echo,
    /// Refuses a batch that contains this FP32 value; echoes otherwise.
    FailOn(f32),
    /// Takes one token per run; echoes.
    Gate(Arc<Mutex<Receiver<()>>>),
    /// Panics.
    Panic,
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
        self.runs
            .lock()
            .push(inputs[0].shape.first().copied().unwrap_or(0));
        match &self.script {
            Script::Echo => {}
            Script::Gate(tokens) => {
                let _ = tokens.lock().recv();
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

    fn provider(&self) -> &'static str {
        "fake"
    }
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
