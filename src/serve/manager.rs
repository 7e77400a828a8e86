//! Loads and unloads versions until those that serve are those that the source of models wants. One
//! thread, one action at a time. It reaches requests only by publishing a route table.

mod actual;
mod asked;
mod batch_tests;
mod declared;
mod drain;
mod known;
pub(in crate::serve) mod load;
mod memory;
mod note;
pub(crate) mod plan;
mod pointers;
mod publish;
mod readiness;
mod relisted;
mod report;
mod retry;
mod revision;
mod settle;
mod source;
mod unread;
mod verdict;

use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::observe::drift::observer::Monitor;
use crate::observe::metrics::Metrics;
use crate::onnx::first_run;
use crate::onnx::runtime::Engine;
use crate::registry::catalog::Unserved;
use crate::registry::directory::supplied::Supply;
use crate::registry::pbtxt::ModelConfig;
use crate::registry::pbtxt::model_list::ModelList;
use crate::serve::batch::watchdog::Watchdog;
use crate::serve::predict::Predictor;
use crate::serve::route::RouteTable;
use crate::serve::servable::Drained;
use crate::serve::settings::{InPlace, Model};
use actual::Actual;
use arc_swap::ArcSwap;
use batch_tests::BatchTests;
use crossbeam_channel::{Receiver, Sender, bounded};
use drain::Draining;
use pointers::Pointing;
use readiness::{ModelCondition, Readiness, ReadyWhen};
pub(crate) use report::{ServingState, VersionStatus};
pub(crate) use source::ModelSource;
use source::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Its `config.pbtxt`; empty if it has none.
    pub declared: ModelConfig,
}

/// Finds a model's settings, given its `config.pbtxt` if it has one.
pub(crate) type SettingsOf = Box<dyn Fn(&ModelName, Option<&ModelConfig>) -> Settings + Send>;

/// The parts of the manager.
pub(crate) struct ManagerParts {
    pub source: ModelSource,
    pub control: Control,
    /// Whether each model of the start must serve before the server is ready.
    pub strict_readiness: bool,
    /// What happens to files that change after they were loaded.
    pub in_place: InPlace,
    pub settings: SettingsOf,
    /// Cores that this process may use.
    pub cores: usize,
    /// How far below other threads those of lanes are in priority.
    pub lane_niceness: u32,
    pub engine: Arc<dyn Engine>,
    /// Makes the first run of a model in the sandbox, if that is on.
    pub probe: Option<first_run::Prober>,
    pub metrics: Arc<Metrics>,
    /// Monitors loaded versions, if monitoring is on.
    pub monitor: Option<Arc<Monitor>>,
    pub predictor: Arc<Predictor>,
}

enum ManagerCommand {
    Load(ModelName, Box<Supply>, oneshot::Sender<Result<()>>),
    Unload(ModelName, oneshot::Sender<Result<()>>),
    Relist(ModelList, oneshot::Sender<Result<()>>),
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
    /// Starts the thread, which loads models from now on.
    pub(crate) fn start(parts: ManagerParts) -> Result<(Self, ManagerEnd)> {
        let (commands, inbox) = bounded(COMMANDS_MAX);
        let status = Arc::<ArcSwap<Vec<VersionStatus>>>::default();
        let unserved = Arc::<ArcSwap<Vec<Unserved>>>::default();
        let (ended, end) = oneshot::channel();
        let (first, first_pass) = oneshot::channel();
        let is_busy = Arc::new(AtomicBool::new(true));
        let end = ManagerEnd {
            end,
            first_pass,
            is_busy: Arc::clone(&is_busy),
        };
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
                    readiness: Readiness::new(ready_when(&parts)),
                    tests: BatchTests::start(parts.probe.clone()),
                    is_busy,
                    parts,
                    watchdog,
                    status,
                    unserved,
                    models: BTreeMap::new(),
                    asked: BTreeSet::new(),
                    supplied_anew: None,
                    void: BTreeSet::new(),
                    pointing: BTreeMap::new(),
                    wanted: BTreeMap::new(),
                    draining: Vec::new(),
                }
                .serve(&inbox, first);
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

    /// Loads a model or its new versions, from the directory or from what is supplied. Returns when they serve
    /// or are refused. Only with explicit control.
    pub(crate) async fn load(&self, name: ModelName, supply: Supply) -> Result<()> {
        self.ask(|reply| ManagerCommand::Load(name, Box::new(supply), reply))
            .await
    }

    /// Unloads a model. Returns before its last requests have finished. Only with explicit control.
    pub(crate) async fn unload(&self, name: ModelName) -> Result<()> {
        self.ask(|reply| ManagerCommand::Unload(name, reply)).await
    }

    /// Serves the models of a list and no others. Returns when they serve, or with the reason why one does
    /// not. Only for a server that serves a list.
    pub(crate) async fn relist(&self, list: ModelList) -> Result<()> {
        self.send(|reply| ManagerCommand::Relist(list, reply)).await
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
        self.send(command).await
    }

    async fn send(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<()>>) -> ManagerCommand,
    ) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(command(reply))
            .map_err(|_| Error::unavailable("the manager has too many commands waiting; retry"))?;
        answer
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("the server is stopping")))
    }
}

/// Follows the manager's thread to its end.
pub(crate) struct ManagerEnd {
    end: oneshot::Receiver<()>,
    first_pass: oneshot::Receiver<()>,
    is_busy: Arc<AtomicBool>,
}

impl ManagerEnd {
    /// Waits until every model that the source has at the start is loaded or refused.
    pub(crate) async fn first_pass(&mut self) -> Result<()> {
        let ended = |_| Error::internal("the manager ended before it had loaded the models");
        (&mut self.first_pass).await.map_err(ended)
    }

    /// Tells whether the thread has ended, with every servable dropped.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(
            self.end.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        )
    }

    /// Tells whether it reads its source or loads a version now.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }
}

fn ready_when(parts: &ManagerParts) -> ReadyWhen {
    match (parts.control, parts.strict_readiness) {
        (Control::Explicit, _) => ReadyWhen::Always,
        (_, true) => ReadyWhen::EachServes,
        (_, false) => ReadyWhen::OneServes,
    }
}

/// How long the start waits for files that are still being written.
const SETTLE_MAX: Duration = Duration::from_secs(10);
const SETTLE_LOOK: Duration = Duration::from_millis(50);

struct Loop {
    parts: ManagerParts,
    watchdog: Watchdog,
    tests: BatchTests,
    status: Arc<ArcSwap<Vec<VersionStatus>>>,
    unserved: Arc<ArcSwap<Vec<Unserved>>>,
    models: BTreeMap<ModelName, BTreeMap<Version, Actual>>,
    /// With explicit control: the models that clients loaded.
    asked: BTreeSet<ModelName>,
    /// The model whose files are others from this load call on, so that they take the place of those that
    /// were loaded under the same number.
    supplied_anew: Option<ModelName>,
    /// The models whose version policy names no version that is there.
    void: BTreeSet<ModelName>,
    /// Where the names of registry models point now.
    pointing: BTreeMap<ModelName, Pointing>,
    /// The versions of registry models that were wanted when the source was last read.
    wanted: BTreeMap<ModelName, BTreeSet<Version>>,
    draining: Vec<Draining>,
    readiness: Readiness,
    is_busy: Arc<AtomicBool>,
}

impl Loop {
    fn serve(mut self, inbox: &Receiver<ManagerCommand>, first_pass: oneshot::Sender<()>) {
        self.start();
        // The server may be stopping already.
        let _ = first_pass.send(());
        self.is_busy.store(false, Ordering::Relaxed);
        loop {
            let tick = match self.parts.control {
                Control::Poll(every) => every,
                Control::None | Control::Explicit => Duration::from_secs(1),
            };
            match inbox.recv_timeout(tick) {
                Ok(command) => self.run_command(command),
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                    match self.parts.control {
                        Control::Poll(_) => self.follow(false),
                        Control::None | Control::Explicit => self.refresh_notices(),
                    }
                    self.finish_drains();
                }
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break,
            }
        }

        self.stop();
    }

    /// Loads or refuses what the source has, and decides about readiness for the first time.
    fn start(&mut self) {
        let has_read = self.reconcile(false) | self.wait_for_files();

        self.parts.source.log_unserved();
        // Loading leaves free memory behind, which is returned to the system.
        self.parts.engine.trim();
        if has_read {
            self.publish_readiness();
        }
        let is_ready = self.readiness.is_ready();
        if !is_ready && self.readiness.lacks_all() {
            tracing::error!(
                "not ready: nothing in the model directory is served; see the warnings before this line, or set models.strict_readiness = false"
            );
        } else if !is_ready {
            let models = self.readiness.awaited();
            tracing::error!(
                models,
                "not ready: models of the start were refused; mend or remove them, or set models.strict_readiness = false"
            );
        }
    }

    /// Compares the source with the versions that serve, and decides about readiness.
    fn follow(&mut self, has_news: bool) {
        self.is_busy.store(true, Ordering::Relaxed);
        if self.reconcile(has_news) {
            self.publish_readiness();
        }
        self.is_busy.store(false, Ordering::Relaxed);
    }

    fn publish_readiness(&mut self) {
        let conditions = self.models.iter();
        let conditions = conditions
            .map(|(name, versions)| {
                let is_void = self.void.contains(name);
                (name.clone(), condition(versions, is_void))
            })
            .collect();
        // A server that stops is not ready either, whatever is decided here.
        let was_ready = self.readiness.is_ready();
        let has_unserved = !self.unserved.load().is_empty();
        let is_first = self.readiness.is_first();
        let is_ready = self.readiness.judge(&conditions, has_unserved);
        self.parts.predictor.set_ready(is_ready);

        if was_ready && !is_ready {
            tracing::error!("not ready: no model serves, and files were refused");
        }
        if !was_ready && is_ready && !is_first {
            tracing::warn!("ready: what held the server back is mended");
        }
    }

    /// Waits until no file is being written any more, for a while. Returns whether the source could be read.
    fn wait_for_files(&mut self) -> bool {
        let start = Instant::now();
        let mut has_read = false;
        while self.is_settling() && start.elapsed() < SETTLE_MAX {
            std::thread::sleep(SETTLE_LOOK);
            has_read |= self.reconcile(false);
        }
        has_read
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
            ManagerCommand::Load(name, supply, reply) => {
                let _ = reply.send(self.load_asked(&name, *supply));
            }
            ManagerCommand::Relist(list, reply) => {
                let _ = reply.send(self.relist_asked(&list));
            }
            ManagerCommand::Read => self.follow(true),
            ManagerCommand::Unload(name, reply) => {
                let _ = reply.send(self.unload_asked(&name));
            }
        }
    }

    /// Compares the source with the versions that serve, until nothing is left to do. Returns
    /// whether the source could be read.
    fn reconcile(&mut self, has_news: bool) -> bool {
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
            self.note_entry(&name, entry, moment.instant);
            self.settle(&name, entry);
        }

        let load_failures = &self.parts.metrics.load_failures;
        self.models.retain(|name, versions| {
            if versions.is_empty() {
                // It is absent where no version was refused.
                let _ = load_failures.remove_label_values(&[name.as_str()]);
            }
            !versions.is_empty()
        });
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
        self.parts.source.is_readable()
    }

    /// What happens to files of a model that have other bytes than those that were loaded.
    fn in_place(&self, name: &ModelName) -> InPlace {
        match self.supplied_anew.as_ref() == Some(name) {
            true => InPlace::Swap,
            false => self.parts.in_place,
        }
    }

    fn is_wanted(&self, name: &ModelName) -> bool {
        self.parts.control != Control::Explicit || self.asked.contains(name)
    }
}

/// What the versions of one model do together.
fn condition(versions: &BTreeMap<Version, Actual>, is_void: bool) -> ModelCondition {
    let is_refused = |actual: &Actual| matches!(actual.state, ServingState::Failed(_));
    if versions.values().any(|actual| actual.servable.is_some()) {
        ModelCondition::Serving
    } else if is_void || versions.values().any(is_refused) {
        ModelCondition::Refused
    } else {
        ModelCondition::Neither
    }
}
