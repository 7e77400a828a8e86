//! The history of a model's runs and their results, in the registry's store.

use crate::data::DataManifest;
use crate::event_key::EventKey;
use crate::record::RunRecord;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::TryStreamExt;
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::core::model::ModelName;
use ortus::storage::layout::Records;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Digits from which on a number is a key, not a version.
const KEY_MIN: usize = 8;

/// The largest record.
const BYTES_MAX: u64 = 4 << 20;

/// The trigger of a run that a person started.
pub(crate) const MANUAL: &str = "manual";

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunStatus {
    /// A version was published.
    Published,
    /// An earlier run with the same key published the version.
    Equal,
    /// A gate failed.
    Failed,
    /// A gate was inconclusive.
    Inconclusive,
    /// There is nothing new: the rows of an earlier run, or the answers of the champion.
    Unchanged,
    /// The run ended with an error.
    Broken,
    /// A due run was skipped.
    Skipped,
    /// A trial of a sweep, which is not published.
    Tried,
}

impl RunStatus {
    /// Returns the result as a word of the record.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Equal => "equal",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Unchanged => "unchanged",
            Self::Broken => "broken",
            Self::Skipped => "skipped",
            Self::Tried => "tried",
        }
    }

    /// Returns whether the pipeline ran.
    pub(crate) fn is_run(self) -> bool {
        !matches!(self, Self::Skipped | Self::Tried)
    }
}

/// A run in the history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecordedRun {
    pub model: String,
    pub began: DateTime<Utc>,
    pub seconds: f64,
    /// Why it was started.
    pub trigger: String,
    /// The events that it handled, so that each is handled once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventKey>,
    /// Whether it does not count for triggers: a backfill or a trial.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
    #[serde(rename = "became")]
    pub status: RunStatus,
    pub record: RunRecord,
}

impl RecordedRun {
    /// Returns whether its events stay due, because the registry or a source was unavailable.
    pub(crate) fn is_tried_again(&self) -> bool {
        self.status == RunStatus::Broken && self.events.is_empty() && self.trigger != MANUAL
    }

    /// Returns whether it is the note that due events are delayed.
    pub(crate) fn is_delay(&self) -> bool {
        let is_note = |event: &EventKey| matches!(event, EventKey::Waits(_));
        self.status == RunStatus::Skipped && self.events.iter().any(is_note)
    }

    /// Returns the key of the run; empty if it got none.
    pub(crate) fn key(&self) -> &str {
        self.record.key()
    }
}

/// The runs of a model in the store.
pub(crate) struct RunHistory {
    records: Records,
    model: ModelName,
}

impl RunHistory {
    pub(crate) fn new(records: Records, model: ModelName) -> Self {
        Self { records, model }
    }

    fn folder(&self) -> String {
        format!("train/{}/runs", self.model)
    }

    /// Stores a run; of a record that is too large only the result.
    pub(crate) async fn keep(&self, ran: &RecordedRun) -> Result<()> {
        let name = format!(
            "{:020}-{}",
            ran.began.timestamp_micros(),
            uuid::Uuid::new_v4().simple()
        );

        let body = serde_json::to_vec(ran)
            .map_err(|e| Error::internal("write the record of a run").with_source(e))?;
        let body = if body.len() as u64 > BYTES_MAX {
            serde_json::to_vec(&RecordedRun {
                record: ran.record.shortened(),
                ..ran.clone()
            })
            .map_err(|e| Error::internal("write the record of a run").with_source(e))?
        } else {
            body
        };

        self.records
            .create(&format!("{}/{name}.json", self.folder()), body.into())
            .await
            .map(drop)
    }

    /// Stores the manifest of a dataset under its digest.
    pub(crate) async fn keep_data(&self, digest: &Digest, manifest: &DataManifest) -> Result<()> {
        let key = format!(
            "train/{}/data/{}.json",
            self.model,
            digest.to_string().trim_start_matches("sha256:")
        );

        let text = serde_json::to_vec(manifest)
            .map_err(|e| Error::internal("write the manifest of the data").with_source(e))?;
        self.records.create(&key, text.into()).await.map(drop)
    }

    /// Returns all runs, the oldest first; one that cannot be read is skipped.
    pub(crate) async fn all(&self) -> Result<Vec<RecordedRun>> {
        let mut known = BTreeMap::new();
        self.refresh(&mut known).await?;
        Ok(known.into_values().flatten().collect())
    }

    /// Reads runs that are not yet known, by name; names are in the order of time.
    pub(crate) async fn refresh(
        &self,
        known: &mut BTreeMap<String, Option<RecordedRun>>,
    ) -> Result<()> {
        let listed: Vec<_> = self.records.list(&self.folder()).try_collect().await?;
        for (key, meta) in listed {
            if known.contains_key(&key) {
                continue;
            }
            let bytes = if meta.bytes > BYTES_MAX {
                None
            } else {
                self.records.get(&key, BYTES_MAX).await?
            };
            known.insert(
                key,
                bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
            );
        }

        Ok(())
    }

    fn page_key(&self, run: &str) -> String {
        format!(
            "train/{}/reports/{}.html",
            self.model,
            run.trim_start_matches("sha256:")
        )
    }

    /// Stores the evidence page of a run; the newest one counts.
    pub(crate) async fn keep_page(&self, run: &Digest, page: &str) -> Result<()> {
        self.records
            .overwrite(&self.page_key(&run.to_string()), page.to_owned().into())
            .await
    }

    /// Returns the evidence page of a run. Refuses a run that has none.
    pub(crate) async fn page(&self, run: &str) -> Result<Bytes> {
        let page = self.records.get(&self.page_key(run), BYTES_MAX).await?;
        page.ok_or_else(|| Error::not_found("this run has no evidence page, because it ended before its gates; see `explain` without --html"))
    }

    /// Returns the run that published a version, or the last one whose key has a prefix. Refuses an unknown
    /// prefix, and an ambiguous one.
    pub(crate) async fn find(&self, begins: &str) -> Result<RecordedRun> {
        let begins = begins.strip_prefix("sha256:").unwrap_or(begins);
        let version = begins
            .parse::<u64>()
            .ok()
            .filter(|_| begins.len() < KEY_MIN);
        if let Some(version) = version {
            let is = |ran: &RecordedRun| {
                ran.status == RunStatus::Published && ran.record.version.value() == Some(&version)
            };
            if let Some(ran) = self.all().await?.into_iter().find(is) {
                return Ok(ran);
            }
        }
        let is = |ran: &RecordedRun| {
            ran.key()
                .strip_prefix("sha256:")
                .is_some_and(|k| k.starts_with(begins))
        };

        let mut found: Vec<RecordedRun> = self.all().await?.into_iter().filter(is).collect();
        let keys: std::collections::BTreeSet<String> =
            found.iter().map(|r| r.key().to_owned()).collect();
        // A run that found an earlier one's version has little to show.
        let newest = found.iter().rposition(|r| r.status != RunStatus::Equal);
        let newest = newest
            .map(|at| found.swap_remove(at))
            .or_else(|| found.pop());
        match (newest, keys.len()) {
            (Some(ran), 1) => Ok(ran),
            (Some(_), n) => Err(Error::invalid(format!(
                "the keys of {n} runs begin with '{}'; give more characters",
                ortus::core::error::short(begins)
            ))),
            (None, _) => Err(Error::not_found(format!(
                "no run has a key that begins with '{}' or published such a version; `ortus-trainer runs` lists both",
                ortus::core::error::short(begins)
            ))),
        }
    }
}
