//! Loads and unloads versions until those that serve are those that the source of models wants. One
//! thread, one action at a time. It reaches requests only by publishing a route table.

mod actual;
mod drain;
mod load;
mod note;
pub(crate) mod plan;
mod pointers;
mod publish;
mod report;
mod settle;
mod source;

use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::observe::drift::observer::Monitor;
use crate::observe::metrics::Metrics;
use crate::onnx::first_run;
use crate::onnx::runtime::Engine;
use crate::registry::catalog::Unserved;
use crate::registry::pbtxt::ModelConfig;
use crate::serve::batch::watchdog::Watchdog;
use crate::serve::predict::Predictor;
use crate::serve::route::RouteTable;
use crate::serve::servable::Drained;
use crate::serve::settings::Model;
use actual::Actual;
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};
use drain::Draining;
use pointers::Pointing;
pub(crate) use report::{ServingState, VersionStatus};
pub(crate) use source::ModelSource;
use source::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// What decides which models are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// All at start, and no changes afterwards.
    None,
    /// Changes of the source, which is read at this interval.
    Poll(Duration),
    /// The load and unload calls of clients.
    Explicit,
}

/// How one model is loaded and served.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Its settings. The number of lanes is not 0.
    pub model: Model,
    /// Whether a version must reproduce its golden rows.
    pub golden: bool,
}

/// Finds a model's settings, given its `config.pbtxt` if it has one.
pub(crate) type SettingsOf = Box<dyn Fn(&ModelName, Option<&ModelConfig>) -> Settings + Send>;

/// The parts of the manager.
pub(crate) struct ManagerParts {
    pub source: ModelSource,
    pub control: Control,
    pub settings: SettingsOf,
    pub engine: Arc<dyn Engine>,
    /// Makes the first run of a model in the sandbox, if that is on.
    pub probe: Option<first_run::Prober>,
    pub metrics: Arc<Metrics>,
    /// Monitors loaded versions, if monitoring is on.
    pub monitor: Option<Arc<Monitor>>,
    pub predictor: Arc<Predictor>,
}

enum ManagerCommand {
    Load(ModelName, oneshot::Sender<Result<()>>),
    Unload(ModelName, oneshot::Sender<Result<()>>),
    /// Read the source now.
    Read,
}

/// The handle to the manager's thread. Dropping every copy ends it.
#[derive(Clone)]
pub(crate) struct Manager {
    commands: Sender<ManagerCommand>,
    status: Arc<ArcSwap<Vec<VersionStatus>>>,
    unserved: Arc<ArcSwap<Vec<Unserved>>>,
    control: Control,
}

/// Most commands that wait; beyond it, a call fails and may be retried.
const COMMANDS_MAX: usize = 64;

impl Manager {
    /// Starts the thread. `ended` resolves when it has dropped every servable.
    pub(crate) fn start(parts: ManagerParts) -> Result<(Self, oneshot::Receiver<()>)> {
        let (commands, inbox) = bounded(COMMANDS_MAX);
        let status = Arc::<ArcSwap<Vec<VersionStatus>>>::default();
        let unserved = Arc::<ArcSwap<Vec<Unserved>>>::default();
        let (ended, end) = oneshot::channel();
        let watchdog = Watchdog::start()?;
        let manager = Self {
            commands,
            status: Arc::clone(&status),
            unserved: Arc::clone(&unserved),
            control: parts.control,
        };

        std::thread::Builder::new()
            .name("manager".to_owned())
            .spawn(move || {
                Loop {
                    parts,
                    watchdog,
                    status,
                    unserved,
                    models: BTreeMap::new(),
                    asked: BTreeSet::new(),
                    pointing: BTreeMap::new(),
                    wanted: BTreeMap::new(),
                    draining: Vec::new(),
                }
                .serve(&inbox);
                // The receiver may be dropped.
                let _ = ended.send(());
            })
            .map_err(|e| Error::internal("start the manager").with_source(e))?;
        Ok((manager, end))
    }

    /// Returns every known version, sorted by model and version.
    pub(crate) fn status(&self) -> Arc<Vec<VersionStatus>> {
        self.status.load_full()
    }

    /// Returns what lies in the model directory and is not served, at most 1,000.
    pub(crate) fn unserved(&self) -> Arc<Vec<Unserved>> {
        self.unserved.load_full()
    }

    /// Loads a model or its new versions. Returns when they serve or are refused. Only with
    /// explicit control.
    pub(crate) async fn load(&self, name: ModelName) -> Result<()> {
        self.ask(|reply| ManagerCommand::Load(name, reply)).await
    }

    /// Unloads a model. Returns before its last requests have finished. Only with explicit control.
    pub(crate) async fn unload(&self, name: ModelName) -> Result<()> {
        self.ask(|reply| ManagerCommand::Unload(name, reply)).await
    }

    /// Asks for the source to be read now instead of at the next interval. May be dropped if the
    /// manager is busy.
    pub(crate) fn nudge(&self) {
        let _ = self.commands.try_send(ManagerCommand::Read);
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<()>>) -> ManagerCommand,
    ) -> Result<()> {
        if self.control != Control::Explicit {
            return Err(Error::precondition(
                "load and unload calls need models.control = explicit; this server loads models by itself",
            ));
        }

        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(command(reply))
            .map_err(|_| Error::unavailable("the manager has too many commands waiting; retry"))?;
        answer
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("the server is stopping")))
    }
}

/// How long the start waits for files that are still being written.
const SETTLE_MAX: Duration = Duration::from_secs(10);
const SETTLE_LOOK: Duration = Duration::from_millis(50);

struct Loop {
    parts: ManagerParts,
    watchdog: Watchdog,
    status: Arc<ArcSwap<Vec<VersionStatus>>>,
    unserved: Arc<ArcSwap<Vec<Unserved>>>,
    models: BTreeMap<ModelName, BTreeMap<Version, Actual>>,
    /// With explicit control: the models that clients loaded.
    asked: BTreeSet<ModelName>,
    /// Where the names of registry models point now.
    pointing: BTreeMap<ModelName, Pointing>,
    /// The versions of registry models that were wanted when the source was last read.
    wanted: BTreeMap<ModelName, BTreeSet<Version>>,
    draining: Vec<Draining>,
}

impl Loop {
    fn serve(mut self, inbox: &Receiver<ManagerCommand>) {
        self.reconcile(false);
        let start = Instant::now();
        while self.is_settling() && start.elapsed() < SETTLE_MAX {
            std::thread::sleep(SETTLE_LOOK);
            self.reconcile(false);
        }
        // Loading leaves free memory behind, which is returned to the system.
        self.parts.engine.trim();
        self.parts.predictor.set_ready(true);
        loop {
            let tick = match self.parts.control {
                Control::Poll(every) => every,
                Control::None | Control::Explicit => Duration::from_secs(1),
            };
            match inbox.recv_timeout(tick) {
                Ok(command) => self.run_command(command),
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                    if matches!(self.parts.control, Control::Poll(_)) {
                        self.reconcile(false);
                    }
                    self.finish_drains();
                }
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break,
            }
        }

        self.stop();
    }

    fn is_settling(&self) -> bool {
        self.models
            .values()
            .flat_map(BTreeMap::values)
            .any(|actual| actual.state == ServingState::Settling)
    }

    /// Drops every servable and waits until the lanes have ended.
    fn stop(mut self) {
        self.parts.predictor.routes().publish(RouteTable::default());
        let drains: Vec<Drained> = std::mem::take(&mut self.models)
            .into_values()
            .flat_map(BTreeMap::into_values)
            .filter_map(|actual| actual.drained)
            .chain(self.draining.drain(..).map(|d| d.drained))
            .collect();
        for drained in drains {
            let _ = drained.blocking_recv();
        }
    }

    fn run_command(&mut self, command: ManagerCommand) {
        match command {
            ManagerCommand::Load(name, reply) => {
                self.asked.insert(name.clone());
                // An explicit load tries refused files again.
                if let Some(versions) = self.models.get_mut(&name) {
                    versions.retain(|_, actual| {
                        !matches!(actual.state, ServingState::Failed(_))
                            || actual.servable.is_some()
                    });
                }
                self.reconcile(false);
                let _ = reply.send(self.verdict(&name));
            }
            ManagerCommand::Read => self.reconcile(true),
            ManagerCommand::Unload(name, reply) => {
                let known = self.asked.remove(&name);
                self.reconcile(false);
                let unknown = || Error::not_found(format!("model '{name}' is not loaded"));
                let _ = reply.send(if known { Ok(()) } else { Err(unknown()) });
            }
        }
    }

    fn verdict(&mut self, name: &ModelName) -> Result<()> {
        let Some(versions) = self.models.get(name) else {
            self.asked.remove(name);
            return Err(self.why_absent(name));
        };

        let failed = versions
            .iter()
            .rev()
            .find_map(|(version, actual)| match &actual.state {
                ServingState::Failed(reason) => Some(Error::precondition(format!(
                    "load {name}:{version}: {reason}"
                ))),
                _ => None,
            });
        let serving = versions.values().any(|a| a.state == ServingState::Ready);

        match failed {
            Some(error) => Err(error),
            None if serving => Ok(()),
            None => Err(Error::unavailable(format!(
                "the files of '{name}' are still being written; retry"
            ))),
        }
    }

    /// Says why a model has no versions.
    fn why_absent(&self, name: &ModelName) -> Error {
        let unserved = self.unserved.load();
        let found = unserved.iter().find(|u| u.model == name.as_str());
        match found {
            Some(Unserved {
                version, reason, ..
            }) if version.is_empty() => {
                Error::precondition(format!("model '{name}' is not served: {reason}"))
            }
            Some(Unserved {
                version, reason, ..
            }) => Error::precondition(format!(
                "model '{name}' is not served: '{version}': {reason}"
            )),
            None => Error::not_found(format!("model '{name}' is not in the model directory")),
        }
    }

    /// Compares the source with the versions that serve, until nothing is left to do.
    fn reconcile(&mut self, has_news: bool) {
        let moment = Moment {
            wall: SystemTime::now(),
            instant: Instant::now(),
        };
        let catalog = self
            .parts
            .source
            .scan(&self.parts.metrics, moment, has_news);

        let names: BTreeSet<ModelName> = catalog
            .models
            .keys()
            .chain(self.models.keys())
            .cloned()
            .collect();
        for name in names {
            let entry = catalog.models.get(&name).filter(|_| self.is_wanted(&name));
            self.note_entry(&name, entry);
            self.settle(&name, entry);
        }

        self.models.retain(|_, versions| !versions.is_empty());
        self.report(&catalog);
        let servables = self
            .models
            .values()
            .flat_map(BTreeMap::values)
            .filter_map(|a| a.servable.as_ref());
        self.parts
            .source
            .clean_cache(servables.map(|s| s.digest).collect());
        self.parts.source.report_status(Instant::now());
    }

    fn is_wanted(&self, name: &ModelName) -> bool {
        self.parts.control != Control::Explicit || self.asked.contains(name)
    }
}
