//! ONNX Runtime as the configuration sets it up: its library, first runs in the sandbox, and
//! sessions for commands.

use crate::config::Config;
use crate::core::error::{Error, Result};
use crate::core::spread::cores;
use crate::onnx::first_run::{self, Prober};
use crate::onnx::graph::Graph;
use crate::onnx::runtime::onnx::OnnxRuntime;
use crate::onnx::runtime::{Engine, Session, SessionOptions, SessionSource, library};
use crate::sandbox::supervise;
use std::path::{Path, PathBuf};

/// Finds the ONNX Runtime library, or downloads it where that is allowed.
pub(super) fn locate(config: &Config, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let runtime = &config.runtime;
    library::locate(runtime.library.as_deref(), runtime.offline, say)
}

/// Returns the prober, which makes the first runs of models.
pub(super) fn prober(config: &Config, library: PathBuf) -> Prober {
    Prober {
        program: supervise::OWN_PROGRAM.into(),
        library,
        timeout: config.models.probe_timeout,
        memory_bytes: config.models.probe_memory as u64,
        cache: library::user_cache().map(|folder| folder.join("probes")),
    }
}

/// Returns the prober for models that are pushed. Finds or downloads ONNX Runtime as a server
/// would.
pub fn prober_of(config: &Config, say: &dyn Fn(&str)) -> Result<Prober> {
    Ok(prober(config, locate(config, say)?))
}

/// Runs as the sandboxed process that makes a model's first run.
pub fn probe_model() -> Result<()> {
    first_run::run()
}

/// A model file that was read for a command, and what opens sessions of it.
pub(crate) struct OpenedFile {
    pub graph: Graph,
    pub source: SessionSource,
    pub engine: OnnxRuntime,
}

impl OpenedFile {
    /// Reads a model file, and finds ONNX Runtime as a server would.
    pub(crate) fn read(config: &Config, path: &Path, say: &dyn Fn(&str)) -> Result<Self> {
        let unreadable =
            |e| Error::invalid(format!("{} cannot be read", path.display())).with_source(e);
        let bytes: bytes::Bytes = std::fs::read(path).map_err(unreadable)?.into();
        let graph = Graph::read(bytes.clone())?;
        let engine = OnnxRuntime::load(&locate(config, say)?)?;

        let whole = path.canonicalize().map_err(unreadable)?;
        let folder = whole.parent().map(Path::to_owned);
        let source = SessionSource {
            bytes,
            external_dir: folder.filter(|_| !graph.external.is_empty()),
        };
        Ok(Self {
            graph,
            source,
            engine,
        })
    }
}

/// Reads a model file and opens a session of it on all cores, for commands.
pub(crate) fn open_session(
    config: &Config,
    path: &Path,
    say: &dyn Fn(&str),
) -> Result<(Graph, Box<dyn Session>)> {
    let file = OpenedFile::read(config, path, say)?;
    let options = SessionOptions {
        intra_op_threads: cores(),
        ..SessionOptions::single()
    };
    let session = file.engine.open(&file.source, &options)?;
    Ok((file.graph, session))
}
