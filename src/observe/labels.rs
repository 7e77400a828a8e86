//! Ground-truth labels: checked, written to the label log and joined with predictions. The server
//! that made a prediction joins its labels, or else one that finds the prediction captured; every
//! server reads the labels that all servers accepted.

mod drop;
pub(crate) mod given;
pub mod line;
mod log;
mod recent;
pub(crate) mod settings;
mod state;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::core::request::id::Mint;
use crate::observe::capture::find::Finder;
use crate::observe::drift::observer::Tap;
use crate::observe::drift::observer::answered::Answered;
use crate::observe::metrics::Metrics;
use crate::observe::report::alarm::PerformanceAlarm;
use crate::observe::report::performance::MeasuredPerformance;
use crate::storage::layout::Records;
use chrono::Utc;
use given::{Given, Receipt, Refused};
use line::LabelLine;
use log::{LabelLog, Reader};
use parking_lot::Mutex;
use recent::RecentPrediction;
use settings::FeedbackSettings;
use state::{AppliedLabels, LabelState, LabelVerdict};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
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
    options: LabelOptions,
    metrics: Arc<Metrics>,
    sink: LossSink,
    runtime: tokio::runtime::Handle,
}

/// Interval at which metrics are set.
const TICK: Duration = Duration::from_secs(2);
/// Most time from the response until the prediction can be joined with a label.
const UNDER_WAY: Duration = Duration::from_millis(50);
/// Most predictions that wait for the state.
const INCOMING_MAX: usize = 64 << 10;
/// Hours of the label log that are read again, beyond the time since the last read.
const LOOK_BACK_HOURS: u32 = 2;

/// Whether labels are from before this server started.
#[derive(Clone, Copy)]
enum LabelAge {
    /// They are, and counted in the performance tests then.
    Before,
    Start,
}

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
        let state = Mutex::new(LabelState::new(&options));
        let feedback = Arc::new(Self {
            mint,
            state,
            incoming: Mutex::default(),
            log,
            options,
            metrics,
            sink,
            runtime: runtime.clone(),
        });

        runtime.spawn(follow(Arc::downgrade(&feedback), records));
        runtime.spawn(show(Arc::downgrade(&feedback)));
        if let Some(folder) = feedback.options.settings.drop.clone() {
            runtime.spawn(drop::watch(Arc::downgrade(&feedback), folder));
        }
        feedback
    }

    /// Keeps a prediction for its labels. Never waits for the state.
    fn keep(&self, answered: &Answered<'_>) {
        let Some(kept) = RecentPrediction::of(answered) else {
            return;
        };
        let mut incoming = self.incoming.lock();
        // The state was busy for long. The oldest predictions are the least likely to receive a
        // label soon.
        if incoming.len() >= INCOMING_MAX {
            incoming.pop_front();
        }
        incoming.push_back((answered.prediction, kept));
        if let Some(mut state) = self.state.try_lock() {
            incoming
                .drain(..)
                .for_each(|(id, kept)| state.predicted(id, kept, &self.options));
        }
    }

    /// Locks the state, and adds the predictions that waited for it.
    fn lock(&self) -> parking_lot::MutexGuard<'_, LabelState> {
        let mut state = self.state.lock();
        let incoming = std::mem::take(&mut *self.incoming.lock());
        incoming
            .into_iter()
            .for_each(|(id, kept)| state.predicted(id, kept, &self.options));
        state
    }

    /// Returns the tap through which the monitor passes predictions.
    pub(crate) fn tap(self: &Arc<Self>) -> Tap {
        let feedback = Arc::downgrade(self);
        Box::new(move |answered: &Answered<'_>| {
            if let Some(feedback) = feedback.upgrade() {
                feedback.keep(answered);
            }
        })
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
        let now = Utc::now();
        let (mut lines, mut receipt) = (Vec::new(), Receipt::default());
        {
            let mut state = self.lock();
            for (index, given) in given.into_iter().enumerate() {
                match given.and_then(|given| state.judge(&self.mint, &given, now, &self.options)) {
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
        self.metrics.feedback.count("duplicate", receipt.duplicates);
        self.metrics
            .feedback
            .count("refused", receipt.refused.len());
        self.metrics
            .feedback
            .count("pending", receipt.accepted - receipt.joined);
        self.metrics.feedback.count("joined", receipt.joined);

        let found = self.apply(&lines, LabelAge::Start);
        // The prediction may have become known while its label was written.
        self.put_joined(found).await;
        Ok(receipt)
    }

    /// Counts lines of the log, and sends the alarms that start with them. Returns labels that were
    /// pending and are now joined.
    fn apply(&self, lines: &[LabelLine], since: LabelAge) -> Vec<LabelLine> {
        let mut applied = AppliedLabels::default();
        let mut state = self.lock();
        state.is_testing = matches!(since, LabelAge::Start);
        for line in lines {
            state.apply(line, &self.options, &mut applied);
        }
        state.is_testing = true;
        std::mem::drop(state);

        for alarm in applied.alarms {
            self.send(alarm);
        }
        applied.joined
    }

    /// Logs an alarm and passes it to the sink.
    fn send(&self, alarm: PerformanceAlarm) {
        let PerformanceAlarm {
            model,
            version,
            rows,
            lost,
            allowed,
            ..
        } = &alarm;
        tracing::warn!(
            model,
            version,
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
                self.apply(&joined, LabelAge::Start);
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
}

/// Returns the hours of the log to read, for labels accepted since a moment.
fn hours_since(read: Instant) -> u32 {
    u32::try_from(read.elapsed().as_secs() / 3600)
        .unwrap_or(u32::MAX)
        .saturating_add(LOOK_BACK_HOURS)
}

/// Reads the labels that all servers accepted, and joins those of predictions that this server made
/// or finds captured.
async fn follow(feedback: Weak<Feedback>, records: Records) {
    let mut reader = Reader::default();
    let (mut is_first, mut finder, mut read) = (true, Finder::default(), Instant::now());
    loop {
        let Some(poll) = feedback.upgrade().map(|f| f.options.settings.poll) else {
            return;
        };
        let asked = feedback
            .upgrade()
            .map(|f| f.lock().wanted())
            .unwrap_or_default();
        let Some(hours) = feedback
            .upgrade()
            .map(|f| f.options.settings.age_max.as_secs().div_ceil(3600))
        else {
            return;
        };
        let hours = if is_first {
            u32::try_from(hours).unwrap_or(u32::MAX)
        } else {
            hours_since(read)
        };
        let mut joined = Vec::new();
        let mut apply = |lines: Vec<LabelLine>| {
            let Some(feedback) = feedback.upgrade() else {
                return;
            };
            joined.extend(feedback.apply(
                &lines,
                if is_first {
                    LabelAge::Before
                } else {
                    LabelAge::Start
                },
            ));
        };
        match reader.read(&records, hours, &mut apply).await {
            Ok(()) => {
                (is_first, read) = (false, Instant::now());
                let Some(feedback) = feedback.upgrade() else {
                    return;
                };
                feedback.put_joined(joined).await;
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the label log cannot be read");
            }
        }
        match finder.find(&records, &asked).await {
            Ok(found) if !found.is_empty() => {
                let Some(feedback) = feedback.upgrade() else {
                    return;
                };
                let joined = feedback.lock().join_found(&found);
                feedback.put_joined(joined).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "captured predictions cannot be searched for labels")
            }
        }
        tokio::time::sleep(poll).await;
    }
}

/// Sets the metrics of versions that changed, repeatedly.
async fn show(feedback: Weak<Feedback>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(feedback) = feedback.upgrade() else {
            return;
        };
        loop {
            let shown = feedback.lock().shown();
            let Some(shown) = shown else { break };
            feedback.metrics.feedback.set(&shown);
        }
        let forgotten = feedback.lock().take_forgotten();
        if forgotten > 0 {
            tracing::warn!(
                labels = forgotten,
                "labels were dropped from memory because their predictions are unknown; they stay in the label log"
            );
            feedback.metrics.feedback.count(
                "forgotten",
                usize::try_from(forgotten).unwrap_or(usize::MAX),
            );
        }
    }
}
