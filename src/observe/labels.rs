//! Ground-truth labels: checked, written to the label log and joined with predictions. The server
//! that made a prediction joins its labels, or else one that finds the prediction captured; every
//! server reads the labels that all servers accepted.

mod answers;
mod drop;
mod follow;
pub(crate) mod given;
pub mod line;
mod log;
mod prediction;
mod recent;
pub(crate) mod settings;
mod state;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::core::request::id::Mint;
use crate::observe::drift::observer::answered::Answered;
use crate::observe::drift::observer::keeper::AnswerKeeper;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::metrics::Metrics;
use crate::observe::report::alarm::PerformanceAlarm;
use crate::observe::report::column::SlicePart;
use crate::observe::report::performance::{CohortPerformance, MeasuredPerformance, WaitingLabels};
use crate::storage::layout::Records;
use answers::name::{LossReason, TimeSpan};
use answers::{AnswerStore, WrittenAnswers};
use chrono::Utc;
use given::{Given, Receipt, Refused};
use line::LabelLine;
use log::LabelLog;
use parking_lot::Mutex;
use prediction::{FreshPrediction, RecentPrediction};
use settings::FeedbackSettings;
use state::{AppliedLabels, LabelState, LabelVerdict, LineSource, RequestRows, WaitReason};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use uuid::Uuid;

/// How labels are handled.
#[derive(Clone, Debug)]
pub(crate) struct LabelOptions {
    pub settings: FeedbackSettings,
    /// Accepted false alarms about performance for each model and month.
    pub false_alarms_per_month: f64,
}

/// Receives every performance alarm; must not block.
pub(crate) type LossSink = Box<dyn Fn(PerformanceAlarm) + Send + Sync>;

/// Accepts labels, and joins them with predictions.
pub(crate) struct Feedback {
    mint: Arc<Mint>,
    state: Mutex<LabelState>,
    /// Predictions that arrived while the state was locked.
    incoming: Mutex<VecDeque<(Uuid, RecentPrediction)>>,
    log: LabelLog,
    /// Keeps the answers of all predictions in the store.
    answers: Arc<AnswerStore>,
    /// When the oldest kept prediction was made; none before the first look.
    kept_since: Mutex<Option<Option<u64>>>,
    /// Predictions whose answers were not kept, by reason.
    lost: Mutex<BTreeMap<String, u64>>,
    /// Wakes the search for the predictions of pending labels.
    search_wanted: Arc<Notify>,
    options: LabelOptions,
    metrics: Arc<Metrics>,
    sink: LossSink,
    runtime: tokio::runtime::Handle,
}

/// Most time from the response until the prediction can be joined with a label.
const UNDER_WAY: Duration = Duration::from_millis(50);
/// Most predictions that wait for the state.
const INCOMING_MAX: usize = 64 << 10;
/// Most labels that wait to be searched for while more are imported from a file.
const SEARCHED_MAX: u64 = 50_000;
/// How long an import waits for the search.
const SEARCH_MAX: Duration = Duration::from_secs(60);
/// Interval at which it looks.
const SEARCH_LOOK: Duration = Duration::from_millis(100);
/// How long a stopping server waits until the last answers are written.
const END: Duration = Duration::from_secs(10);

impl Feedback {
    /// Starts the tasks that write and read the label log, on this runtime. Earlier labels are read
    /// first, in the background.
    pub(crate) fn start(
        (records, mint): (Records, Arc<Mint>),
        options: LabelOptions,
        metrics: Arc<Metrics>,
        sink: LossSink,
        runtime: &tokio::runtime::Handle,
    ) -> Arc<Self> {
        let log = LabelLog::start(records.clone(), runtime);
        let state = Mutex::new(LabelState::new(&options, Utc::now()));
        let flush = options.settings.answers_flush;
        let feedback = Arc::new(Self {
            mint,
            state,
            incoming: Mutex::default(),
            log,
            answers: Arc::new(AnswerStore::new(records.clone(), flush)),
            kept_since: Mutex::default(),
            lost: Mutex::default(),
            search_wanted: Arc::default(),
            options,
            metrics,
            sink,
            runtime: runtime.clone(),
        });

        let weak = || Arc::downgrade(&feedback);
        runtime.spawn(follow::follow(weak(), records.clone()));
        runtime.spawn(follow::tend(weak(), records));
        runtime.spawn(follow::show(weak()));
        let families = feedback.metrics.feedback.clone();
        let stored = move |written: WrittenAnswers| {
            families.answers("stored", written.predictions as u64);
        };
        runtime.spawn(answers::run(Arc::downgrade(&feedback.answers), stored));
        if let Some(folder) = feedback.options.settings.drop.clone() {
            runtime.spawn(drop::watch(Arc::downgrade(&feedback), folder));
        }
        feedback
    }

    /// Keeps a prediction for its labels. Never waits for the state.
    fn keep(&self, answered: &Answered<'_>) {
        if !self.answers.keep(answered, Instant::now()) {
            self.count_lost(LossReason::Store, 1);
        }
        let Some(predicted) = FreshPrediction::of(answered) else {
            return;
        };
        let mut incoming = self.incoming.lock();
        if let Some(mut state) = self.state.try_lock() {
            incoming
                .drain(..)
                .for_each(|(id, kept)| state.predicted(kept.predicted(id), &self.options));
            state.predicted(predicted, &self.options);
            return;
        }
        // The state was busy for long. The oldest predictions are the least likely to receive a
        // label soon.
        if incoming.len() >= INCOMING_MAX {
            incoming.pop_front();
        }
        incoming.push_back((answered.prediction, predicted.kept()));
    }

    /// Locks the state, and adds the predictions that waited for it.
    fn lock(&self) -> parking_lot::MutexGuard<'_, LabelState> {
        let mut state = self.state.lock();
        let incoming = std::mem::take(&mut *self.incoming.lock());
        incoming
            .into_iter()
            .for_each(|(id, kept)| state.predicted(kept.predicted(id), &self.options));
        state
    }

    /// Returns the keeper to which the monitor passes predictions.
    pub(crate) fn keeper(self: &Arc<Self>) -> Arc<dyn AnswerKeeper> {
        Arc::new(FeedbackKeeper(Arc::downgrade(self)))
    }

    /// Returns the most labels of a request.
    pub(crate) fn labels_max(&self) -> usize {
        self.options.settings.labels_max
    }

    /// Reads and accepts labels on the background runtime: many labels take milliseconds, and the
    /// calling thread serves predictions.
    pub(crate) async fn accept_on_worker(
        self: &Arc<Self>,
        read: impl FnOnce() -> Result<Vec<Result<Given>>> + Send + 'static,
    ) -> Result<Receipt> {
        let feedback = Arc::clone(self);
        let taken = self
            .runtime
            .spawn(async move { feedback.accept(read()?).await });
        taken
            .await
            .map_err(|e| Error::internal("accept labels").with_source(e))?
    }

    /// Accepts labels. When this returns, the accepted ones are in the store. Refuses the request
    /// if it has too many labels or the store cannot be written; an error in one label refuses that
    /// label only.
    pub(crate) async fn accept(&self, given: Vec<Result<Given>>) -> Result<Receipt> {
        let most = self.options.settings.labels_max;
        if given.is_empty() || given.len() > most {
            return Err(Error::invalid(format!(
                "a request must have 1 to {most} labels; got {}",
                given.len()
            )));
        }

        if self.lock().is_under_way(&given) {
            tokio::time::sleep(UNDER_WAY).await;
        }
        let (mut lines, mut receipt) = (Vec::new(), Receipt::default());
        {
            let (mut state, mut rows) = (self.lock(), RequestRows::new(Utc::now()));
            for (index, given) in given.into_iter().enumerate() {
                let judged = given
                    .and_then(|given| state.judge(&self.mint, &given, &mut rows, &self.options));
                match judged {
                    Ok(LabelVerdict::New(line)) => lines.push(*line),
                    Ok(LabelVerdict::Known) => receipt.duplicates += 1,
                    Err(error) => receipt.refused.push(Refused { index, error }),
                }
            }
        }

        if !lines.is_empty() {
            let context = |e: Error| e.context("store the labels");
            self.log.append(lines.clone()).await.map_err(context)?;
        }
        receipt.accepted = lines.len();
        receipt.joined = lines.iter().filter(|l| l.joined.is_some()).count();
        receipt.pending = receipt.accepted - receipt.joined;
        self.metrics.feedback.count("duplicate", receipt.duplicates);
        self.metrics
            .feedback
            .count("refused", receipt.refused.len());
        self.metrics.feedback.count("pending", receipt.pending);
        self.metrics.feedback.count("joined", receipt.joined);

        let found = self.apply(&lines, LineSource::Own);
        // The prediction may have become known while its label was written.
        self.put_joined(found).await;
        if receipt.pending > 0 {
            self.search_wanted.notify_one();
        }
        Ok(receipt)
    }

    /// Counts lines of the log, and sends the alarms that start with them. Returns labels that were
    /// pending and are now joined.
    fn apply(&self, lines: &[LabelLine], source: LineSource) -> Vec<LabelLine> {
        let mut applied = AppliedLabels::default();
        let mut state = self.lock();
        for line in lines {
            state.apply((line, source), &self.options, &mut applied);
        }
        std::mem::drop(state);

        for alarm in applied.alarms {
            self.send(alarm);
        }
        applied.joined
    }

    /// Rebuilds the performance tests, once all earlier labels are read.
    fn begin_testing(&self) {
        let alarms = self.lock().begin_testing(&self.options);
        alarms.into_iter().for_each(|alarm| self.send(alarm));
    }

    /// Counts predictions whose answers were not kept.
    fn count_lost(&self, reason: LossReason, predictions: u64) {
        let name = reason.name();
        *self.lost.lock().entry(name.to_owned()).or_default() += predictions;
        self.metrics
            .feedback
            .answers(&format!("lost_{name}"), predictions);
    }

    /// Sets the metrics of labels that wait.
    fn show_waiting(&self) {
        let (waiting, forgotten) = {
            let mut state = self.lock();
            (state.waiting(), state.take_forgotten())
        };
        for reason in WaitReason::ALL {
            let labels = waiting.get(&reason).copied().unwrap_or(0);
            self.metrics.feedback.waiting(reason.code(), labels);
        }
        if forgotten > 0 {
            tracing::warn!(
                labels = forgotten,
                "labels were dropped from memory because their predictions are unknown; they stay in the label log"
            );
            let forgotten = usize::try_from(forgotten).unwrap_or(usize::MAX);
            self.metrics.feedback.count("forgotten", forgotten);
        }
    }

    /// Logs an alarm and passes it to the sink.
    fn send(&self, alarm: PerformanceAlarm) {
        let PerformanceAlarm {
            model,
            version,
            part,
            rows,
            lost,
            allowed,
            ..
        } = &alarm;
        tracing::warn!(
            model,
            version,
            part = part.as_ref().map(SlicePart::condition),
            rows,
            lost,
            allowed,
            "performance alarm: the error share is higher than in the baseline"
        );

        (self.sink)(alarm);
    }

    /// Writes labels to the log that were joined after they were accepted.
    async fn put_joined(&self, joined: Vec<LabelLine>) {
        if joined.is_empty() {
            return;
        }
        let count = joined.len();
        match self.log.append(joined.clone()).await {
            Ok(()) => {
                self.apply(&joined, LineSource::Log);
                self.metrics.feedback.count("joined_late", count);
            }
            Err(error) => {
                tracing::warn!(%error, "joined labels cannot be written to the label log")
            }
        }
    }

    /// Returns the measured performance of a model's versions, or of one.
    pub(crate) fn report(
        &self,
        model: &ModelName,
        version: Option<Version>,
    ) -> Vec<MeasuredPerformance> {
        self.lock().report(model, version)
    }

    /// Returns the labelled rows of two versions since both have some.
    pub(crate) fn pair(
        &self,
        model: &ModelName,
        own: (u64, &str),
        base: (u64, &str),
    ) -> Option<[CohortPerformance; 2]> {
        self.lock().pair(model, own, base)
    }

    /// Returns the labels that wait for their prediction, of any model; none if there is nothing to
    /// show.
    pub(crate) fn waiting(&self) -> Option<WaitingLabels> {
        let lost = self.lost.lock().clone();
        let waiting = self.lock().waiting_report(lost);
        Some(waiting).filter(|waiting| !waiting.is_empty())
    }

    /// Waits until few labels wait to be searched for, so that a large import does not push its own
    /// labels out of memory. Gives up if the search takes too long.
    async fn wait_for_search(&self) {
        let start = Instant::now();
        while start.elapsed() < SEARCH_MAX {
            let searched = self.lock().waiting().remove(&WaitReason::Search);
            if searched.unwrap_or(0) <= SEARCHED_MAX {
                return;
            }
            self.search_wanted.notify_one();
            tokio::time::sleep(SEARCH_LOOK).await;
        }
    }

    /// Writes the answers that are in memory, so that labels find them after the stop.
    pub(crate) async fn flush(&self) {
        let write = self.answers.write(Instant::now(), true);
        match tokio::time::timeout(END, write).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let cause = logged_cause(&error);
                tracing::warn!(%error, cause, "the last answers are not in the store; their labels will not be joined");
            }
            Err(_) => {
                tracing::warn!(
                    "the store does not take the last answers in time; their labels will not be joined"
                );
            }
        }
    }
}

/// Returns the cause of an error for the log.
fn logged_cause(error: &Error) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}

/// Passes predictions on while labels are accepted.
struct FeedbackKeeper(Weak<Feedback>);

impl AnswerKeeper for FeedbackKeeper {
    fn keep(&self, answered: &Answered<'_>) {
        if let Some(feedback) = self.0.upgrade() {
            feedback.keep(answered);
        }
    }

    fn lost(&self, predictions: u64, from_ms: u64, to_ms: u64) {
        if let Some(feedback) = self.0.upgrade() {
            let span = TimeSpan { from_ms, to_ms };
            feedback.answers.lose(LossReason::Queue, span, predictions);
            feedback.count_lost(LossReason::Queue, predictions);
        }
    }

    fn watched(&self, subject: &Arc<WatchSubject>) {
        if let Some(feedback) = self.0.upgrade() {
            let alarms = feedback.lock().loaded(subject, &feedback.options);
            alarms.into_iter().for_each(|alarm| feedback.send(alarm));
        }
    }
}
