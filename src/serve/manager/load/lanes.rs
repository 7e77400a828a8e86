//! The sessions of a version: one for each lane, or one model that all lanes share. A lane that hangs
//! gets another session in the same way.

#[cfg(test)]
mod tests;

use super::ManagerParts;
use crate::core::error::Result;
use crate::onnx::first_run::external_bytes;
use crate::onnx::runtime::{Engine, Session, SessionOptions, SessionSource, SharedModel};
use crate::registry::directory::Loaded;
use crate::serve::batch::Reopen;
use std::sync::Arc;

/// From this size of the weights on, the lanes of a version share one session. Measured on two cores with
/// two lanes: on a model of 20 kB sharing costs 14 % of the runs per CPU second, from 1 MB on nothing, and
/// at 16 MB it gains 56 %, because the lanes share the processor's cache. A second session of a
/// model costs up to four times its weights.
const SHARED_FROM_BYTES: u64 = 1 << 20;

/// Lanes on other hardware than the CPU: while one run computes, another one's tensors are copied. On an H100,
/// two lanes of a transformer of 92 MB made 2.5 times the rows of one in batches of 32, and two of a conv net of
/// 102 MB 1.3 times; four made 1.3 and 1.15 times the rows of two, with twice the memory.
const DEVICE_LANES: usize = 2;

/// The number of lanes: as set, else one for each core that its threads leave, or two on other hardware than
/// the CPU.
pub(crate) fn number_of_lanes(set: usize, threads: usize, provider: &str, cores: usize) -> usize {
    match set {
        0 if provider != "cpu" => DEVICE_LANES,
        0 => (cores / threads.max(1)).max(1),
        lanes => lanes,
    }
}

/// The sessions of the lanes.
pub(crate) struct LaneSessions {
    /// At least one.
    pub sessions: Vec<Box<dyn Session>>,
    /// What they share, if they do.
    pub shared: Option<Arc<dyn SharedModel>>,
}

impl LaneSessions {
    /// Opens the first session.
    pub(crate) fn open(
        engine: &dyn Engine,
        source: &SessionSource,
        options: &SessionOptions,
    ) -> Result<Self> {
        let first = engine.open(source, options)?;
        // The files of external data lie in a private copy, so nothing changes their lengths.
        let external = external_bytes(source.external_dir.as_deref());
        let is_large = source.bytes.len() as u64 + external >= SHARED_FROM_BYTES;
        let shared = is_large.then(|| first.shared()).flatten();

        Ok(Self {
            sessions: vec![first],
            shared,
        })
    }

    /// Adds the sessions of the other lanes.
    pub(crate) fn fill(
        &mut self,
        engine: &dyn Engine,
        source: &SessionSource,
        options: &SessionOptions,
        lanes: usize,
    ) -> Result<()> {
        while self.sessions.len() < lanes {
            let more = self.shared.as_ref().and_then(|model| model.session());
            self.sessions.push(match more {
                Some(session) => session,
                None => engine.open(source, options)?,
            });
        }
        Ok(())
    }

    /// Number of sessions with weights of their own.
    pub(super) fn distinct(&self) -> usize {
        match self.shared {
            Some(_) => 1,
            None => self.sessions.len(),
        }
    }
}

/// What another session of a version is opened from once the version serves.
pub(super) struct Reopening {
    open: Reopen,
}

impl Reopening {
    /// Keeps what is needed to open a session from the same bytes, without the model directory.
    pub(super) fn new(parts: &ManagerParts, loaded: &Loaded, options: &SessionOptions) -> Self {
        let (file, external_dir) = (loaded.file.clone(), loaded.external_dir.clone());
        let copy = loaded.copy.clone();
        let engine = Arc::clone(&parts.engine);
        let options = options.clone();
        let open = move || {
            let _kept = &copy;
            let source = SessionSource {
                bytes: file.read()?,
                external_dir: external_dir.clone(),
            };
            engine.open(&source, &options)
        };
        Self {
            open: Box::new(open),
        }
    }

    /// Takes a session of the shared model first, if there is one: a run that hangs holds nothing that
    /// other runs of its session wait for.
    pub(super) fn with(self, shared: Option<Arc<dyn SharedModel>>) -> Reopen {
        let Self { open } = self;
        Box::new(move || {
            let more = shared.as_ref().and_then(|model| model.session());
            more.map_or_else(&open, Ok)
        })
    }
}
