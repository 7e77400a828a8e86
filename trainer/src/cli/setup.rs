//! What commands share: the registry, ONNX Runtime, the history of a model, and
//! the records of servers.

use super::RunArguments;
use crate::context::Trainer;
use crate::history::RunHistory;
use crate::spec::Spec;
use ortus::cli::print::note;
use ortus::cli::registry::arguments::{By, RegistryArguments};
use ortus::cli::registry::{config, open};
use ortus::core::error::{Error, Result};
use ortus::core::model::ModelName;
use ortus::onnx::runtime::onnx::OnnxRuntime;
use ortus::registry::commands::Operator;
use ortus::storage::layout::Records;
use std::path::{Path, PathBuf};

/// What every run needs.
pub(super) struct Setup {
    /// The registry, with the prober that makes the first run of a model.
    pub operator: Operator,
    pub engine: OnnxRuntime,
    /// The records of servers: captured predictions, labels, alarms.
    pub seen: Records,
}

impl Setup {
    /// Prepares the runs of one specification.
    pub(super) async fn of_run(arguments: &RunArguments, spec: &Spec) -> Result<Self> {
        Self::new(
            arguments.ortus.as_deref(),
            &arguments.common,
            &arguments.by,
            spec.fit.threads,
        )
        .await
    }

    pub(super) async fn new(
        ortus: Option<&Path>,
        common: &RegistryArguments,
        by: &By,
        threads: usize,
    ) -> Result<Self> {
        crate::scratch::begin();
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global();
        threads.map_err(|e| Error::internal("start threads").with_source(e))?;
        let mut operator = open(common, Some(by), true).await?;
        let mut prober = ortus::app::engine::prober_of(&config(common)?, &note)?;
        prober.program = program(ortus)?;
        if operator.author.reason.is_empty() {
            operator.author.reason = "trained by ortus-trainer".to_owned();
        }
        let engine = OnnxRuntime::load(&prober.library)?;
        operator.prober = Some(prober);
        let seen = seen_by(common, &operator)?;
        Ok(Self {
            operator,
            engine,
            seen,
        })
    }

    pub(super) fn trainer(&self, now: chrono::DateTime<chrono::Utc>) -> Trainer<'_> {
        Trainer {
            operator: &self.operator,
            engine: &self.engine,
            now,
            as_of: None,
            seen: &self.seen,
            pinned: None,
            trigger: None,
            lease: None,
        }
    }
}

/// Returns the server's program: the given one, or the one beside this program.
fn program(named: Option<&Path>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => {
            let own = std::env::current_exe()
                .map_err(|e| Error::internal("find this program").with_source(e))?;
            own.with_file_name("ortus")
        }
    };

    if path.is_file() {
        return Ok(path);
    }
    Err(Error::invalid(format!(
        "the server program {} does not exist; pass its path with --ortus",
        path.display()
    )))
}

pub(super) async fn history(model: &str, common: &RegistryArguments) -> Result<RunHistory> {
    history_of(&open(common, None, false).await?, model)
}

/// Returns the records of servers: labels, captured predictions, alarms.
pub(super) fn seen_by(common: &RegistryArguments, operator: &Operator) -> Result<Records> {
    match &config(common)?.records.store {
        Some(url) => Records::open(url, operator.log.namespace()),
        None => Ok(records_of(operator)),
    }
}

pub(super) fn records_of(operator: &Operator) -> Records {
    Records::of(operator.log.store.clone(), operator.log.namespace())
}

pub(super) fn history_of(operator: &Operator, model: &str) -> Result<RunHistory> {
    Ok(RunHistory::new(
        records_of(operator),
        ModelName::parse(model)?,
    ))
}
