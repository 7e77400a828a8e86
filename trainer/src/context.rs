//! What a run of the trainer needs beside its specification, what it reports
//! while it runs, and its outcome. Owns no step of the run.

use crate::data::Reach;
use crate::fit::trees::Round;
use crate::gate::Verdict;
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
    /// Its prober makes the first run, in a process of the server's own program.
    pub operator: &'t Operator,
    pub engine: &'t dyn Engine,
    pub now: chrono::DateTime<chrono::Utc>,
    /// The time that counts as now for the data; none: now.
    pub as_of: Option<chrono::DateTime<chrono::Utc>>,
    /// Where servers keep what they record.
    pub seen: &'t Records,
    /// What was written down of why it runs.
    pub pinned: Option<&'t Pinned>,
    /// Why it runs.
    pub trigger: Option<&'t str>,
    /// What is held while it runs.
    pub lease: Option<&'t Lease>,
}

/// What a run came to.
pub(crate) struct Outcome {
    /// The version, where there is one.
    pub version: Option<u64>,
    /// Whether this run made it.
    pub new: bool,
    pub verdict: Verdict,
    pub record: RunRecord,
}

/// Told of what happens; for a person.
pub(crate) trait Watcher {
    fn step(&mut self, what: &str);
    fn round(&mut self, round: Round);
}

impl Trainer<'_> {
    /// Where runs keep what they leave.
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

    /// A registry that does not answer is no registry without a champion.
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
