//! Builds sessions from model bytes and runs them. The server uses only these
//! traits, so that tests can replace sessions with scripted ones.

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod library;
pub mod onnx;
pub(crate) mod provider;
pub(crate) mod warnings;
mod words;

use crate::core::error::{Error, Result};
use crate::core::model::optional::OptionalTensor;
use crate::core::tensor::{Tensor, View};
use bytes::Bytes;
use provider::{Provider, ProviderKind};
use std::path::PathBuf;
use std::sync::Arc;
use warnings::RuntimeWarnings;

/// The model of a session.
#[derive(Clone, Debug)]
pub struct SessionSource {
    /// The model file, already verified.
    pub bytes: Bytes,
    /// The folder of its external data, if it has any.
    pub external_dir: Option<PathBuf>,
}

/// How a session runs.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SessionOptions {
    /// Threads inside one run.
    pub intra_op_threads: usize,
    /// Whether those threads spin between runs: a few microseconds faster, but each
    /// keeps a core busy.
    pub spinning: bool,
    /// Tried in order. The later ones are the only fallbacks.
    pub providers: Vec<Provider>,
    /// Where warnings about the model are logged.
    #[serde(skip)]
    pub warnings: RuntimeWarnings,
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
            warnings: RuntimeWarnings::default(),
        }
    }
}

/// Makes sessions.
pub trait Engine: Send + Sync {
    /// Builds a session. Blocks for as long as the model takes; call it from a
    /// loader thread.
    fn open(&self, source: &SessionSource, options: &SessionOptions) -> Result<Box<dyn Session>>;
    /// Returns the memory of closed sessions to the operating system.
    fn trim(&self) {}
}

/// One loaded model, owned by one thread.
pub trait Session: Send {
    /// Runs once. `inputs` are the required ones in the graph's order; the outputs are in the
    /// graph's order too.
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>>;
    /// Runs once, with values in place of the defaults of some optional inputs.
    fn run_with(
        &mut self,
        inputs: &[View<'_>],
        optional: &[OptionalTensor],
    ) -> Result<Vec<Tensor>> {
        match optional {
            [] => self.run(inputs),
            _ => Err(Error::internal("this session takes no optional inputs")),
        }
    }
    /// The execution provider that runs the model.
    fn provider(&self) -> &'static str;
    /// Returns a handle that ends its runs from another thread; `None` if that is
    /// not supported.
    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        None
    }
    /// Returns the model for sessions on other threads that hold its weights only once; `None` where
    /// runs at the same time are not safe.
    fn shared(&self) -> Option<Arc<dyn SharedModel>> {
        None
    }
}

/// A loaded model that several sessions can share. Does not keep it loaded: its sessions do.
pub trait SharedModel: Send + Sync {
    /// Returns one more session of the model, with a terminator of its own; `None` once no session
    /// of it is left.
    fn session(&self) -> Option<Box<dyn Session>>;
}

/// Ends the runs of one session from another thread.
pub trait Terminate: Send + Sync {
    /// Makes the current run end between two nodes, and every later run fail at
    /// once until [`Terminate::reset`].
    fn terminate(&self);
    /// Allows runs again.
    fn reset(&self);
}
