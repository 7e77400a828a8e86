//! What a run of the trainer needs beside its specification, what it reports
//! while it runs, and its outcome. Owns no step of the run.

use crate::data::Reach;
use crate::fit::trees::Round;
use crate::history::RunStatus;
use crate::lease::Lease;
use crate::pins::Pinned;
use crate::record::RunRecord;
use ortus::core::error::Result;
use ortus::core::model::{ModelName, Version};
use ortus::onnx::runtime::Engine;
use ortus::registry::commands::Operator;
use ortus::storage::layout::Records;

/// What a run needs beside its specification.
pub(crate) struct Trainer<'t> {
    /// The registry's operator, whose prober makes the first run of a model.
    pub operator: &'t Operator,
    pub engine: &'t dyn Engine,
    pub now: chrono::DateTime<chrono::Utc>,
    /// The time that counts as now for the data, if not now.
    pub as_of: Option<chrono::DateTime<chrono::Utc>>,
    /// The records of servers: captured predictions, labels, alarms.
    pub seen: &'t Records,
    /// The pin of the trigger, if the run has one.
    pub pinned: Option<&'t Pinned>,
    /// Why the run is started.
    pub trigger: Option<&'t str>,
    /// The lease that is held during the run.
    pub lease: Option<&'t Lease>,
}

/// The outcome of a run.
pub(crate) struct RunOutcome {
    /// The version, if one was published by this run or an earlier one.
    pub version: Option<u64>,
    pub status: RunStatus,
    pub record: RunRecord,
    /// A row as arguments of `ortus predict`, of a version that this run published.
    pub example: Option<String>,
}

impl RunOutcome {
    /// Returns whether this run published a version.
    pub(crate) fn is_new(&self) -> bool {
        self.status == RunStatus::Published
    }

    /// Returns whether nothing is wrong with the model.
    pub(crate) fn has_passed(&self) -> bool {
        self.version.is_some() || self.status == RunStatus::Unchanged
    }
}

/// Receives the progress of a run, to show it to a person.
pub(crate) trait Watcher {
    fn step(&mut self, what: &str);
    fn round(&mut self, round: Round);
}

/// The most points of a learning curve, times two.
const CURVE_POINTS: usize = 400;

/// The loss on the stopping rows by round: of a long fit every second, fourth … round.
pub(crate) struct LearningCurve {
    points: Vec<(usize, f64)>,
    last: Option<(usize, f64)>,
    every: usize,
}

impl LearningCurve {
    pub(crate) fn new() -> Self {
        Self {
            points: Vec::new(),
            last: None,
            every: 1,
        }
    }

    /// Adds a round.
    pub(crate) fn add(&mut self, round: &Round) {
        let Some(loss) = round.loss.filter(|loss| loss.is_finite()) else {
            return;
        };
        self.last = Some((round.number, loss));
        if round.number.is_multiple_of(self.every) {
            self.points.push((round.number, loss));
        }
        if self.points.len() >= CURVE_POINTS {
            self.every *= 2;
            let every = self.every;
            self.points
                .retain(|(number, _)| number.is_multiple_of(every));
        }
    }

    /// Returns the points, the last round among them; none if there was no loss.
    pub(crate) fn into_points(mut self) -> Option<Vec<(usize, f64)>> {
        let last = self.last?;
        if self.points.last() != Some(&last) {
            self.points.push(last);
        }
        Some(self.points)
    }
}

impl Trainer<'_> {
    /// Returns the records of runs.
    pub(crate) fn records(&self) -> Records {
        Records::of(
            self.operator.log.store.clone(),
            self.operator.log.namespace(),
        )
    }

    pub(crate) fn reach(&self) -> Reach {
        Reach {
            records: Some(self.seen.clone()),
            as_of: self.as_of,
            now: self.now,
        }
    }

    /// Returns the champion. Fails if the registry does not answer, which is not the same as no champion.
    pub(crate) async fn champion_of(&self, name: &ModelName) -> Result<Option<Version>> {
        Ok(self
            .operator
            .state()
            .await?
            .models
            .get(name)
            .and_then(|m| m.champion()))
    }
}
