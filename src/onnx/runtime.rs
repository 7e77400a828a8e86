//! Turns model bytes into sessions and runs them. The traits are the seam:
//! the server knows an engine and sessions, tests script them.

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod library;
pub mod onnx;
pub(crate) mod provider;

use crate::core::error::Result;
use crate::core::tensor::{Tensor, View};
use bytes::Bytes;
use provider::{Provider, ProviderKind};
use std::path::PathBuf;
use std::sync::Arc;

/// What a session is made from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The model file, already verified.
    pub bytes: Bytes,
    /// The folder its external data lies in, if it has any.
    pub external_dir: Option<PathBuf>,
}

/// How a session runs.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SessionOptions {
    /// Threads inside one run.
    pub intra_op_threads: usize,
    /// Whether those threads spin between runs: faster by microseconds, at the
    /// price of a busy core.
    pub spinning: bool,
    /// Tried in order; the later ones are the only fallbacks allowed.
    pub providers: Vec<Provider>,
}

impl SessionOptions {
    /// One thread on the CPU.
    pub fn single() -> Self {
        let provider = Provider {
            kind: ProviderKind::Cpu,
            options: std::collections::BTreeMap::new(),
        };
        Self {
            intra_op_threads: 1,
            spinning: false,
            providers: vec![provider],
        }
    }
}

/// Makes sessions.
pub trait Engine: Send + Sync {
    /// Builds a session. Blocks for as long as the model takes; call it from a
    /// loader thread.
    fn open(&self, source: &Source, options: &SessionOptions) -> Result<Box<dyn Session>>;
    /// Gives memory that closed sessions left back to the system.
    fn trim(&self) {}
}

/// One loaded model, owned by one thread.
pub trait Session: Send {
    /// Runs once. `inputs` are in the graph's order, as are the outputs.
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>>;
    /// The execution provider that took the model.
    fn provider(&self) -> &'static str;
    /// Returns what ends its runs from another thread; `None` where nothing can.
    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        None
    }
}

/// Ends the runs of one session from another thread.
pub trait Terminate: Send + Sync {
    /// Makes the current run end between two nodes, and every later run fail at
    /// once until [`Terminate::reset`].
    fn terminate(&self);
    /// Allows runs again.
    fn reset(&self);
}
