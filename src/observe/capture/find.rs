//! Finds predictions by id in capture files. An id holds the time of the prediction, and files are
//! named by hour.

use super::file::{Captured, FOLDER, name};
use super::replay::open;
use crate::core::error::{Error, Kind, Result};
use crate::core::request::id::minted_at;
use crate::core::tensor::Tensor;
use crate::observe::quality::answer::{RowAnswer, answers};
use crate::storage::layout::Records;
use futures_util::stream::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::UNIX_EPOCH;
use uuid::Uuid;

/// Most files opened in one search; the rest is searched the next time.
const FILES_MAX: usize = 64;

/// A captured prediction.
pub(crate) struct FoundPrediction {
    pub model: String,
    pub version: u64,
    pub digest: String,
    pub task: crate::core::model::task::Task,
    /// The prediction for each row.
    pub answers: Vec<Option<RowAnswer>>,
    /// The columns by which rows are grouped, where they are known.
    pub slices: Vec<String>,
    /// For each slice, the part that each row belongs to.
    pub parts: Vec<Vec<String>>,
}

/// Remembers which ids a file does not hold, so that it is not searched for them again.
#[derive(Default)]
pub(crate) struct Finder {
    missed: BTreeMap<String, HashSet<Uuid>>,
}

/// Finds the model and version that made a prediction; none if it was not captured. A file that
/// cannot be read is an error, because it may hold the prediction.
pub(crate) async fn answered_by(records: &Records, id: Uuid) -> Result<Option<(String, u64)>> {
    let since = minted_at(id)
        .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    let folder = format!("/hour={}/", name(since.as_secs() / 3600));
    let listed: Vec<(String, _)> = records.list(FOLDER).try_collect().await?;
    for (key, _) in listed.iter().filter(|(key, _)| key.contains(&folder)) {
        let Some(file) = open(records, key).await? else {
            continue;
        };
        if file
            .requests()?
            .iter()
            .any(|request| request.prediction == id)
        {
            return Ok(Some((file.head.model, file.head.version)));
        }
    }

    Ok(None)
}

impl Finder {
    /// Finds predictions; those that were not captured are left out. A file that cannot be read is
    /// logged and skipped.
    pub(crate) async fn find(
        &mut self,
        records: &Records,
        wanted: &BTreeSet<Uuid>,
    ) -> Result<HashMap<Uuid, FoundPrediction>> {
        let mut found = HashMap::new();
        let mut by_hour: BTreeMap<u64, HashSet<Uuid>> = BTreeMap::new();
        for id in wanted {
            let since = minted_at(*id)
                .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
                .unwrap_or_default();
            by_hour
                .entry(since.as_secs() / 3600)
                .or_default()
                .insert(*id);
        }

        if by_hour.is_empty() {
            self.missed.clear();
            return Ok(found);
        }
        let listed: Vec<(String, _)> = records.list(FOLDER).try_collect().await?;
        let mut opened = 0;
        for (hour, ids) in by_hour {
            let folder = format!("/hour={}/", name(hour));
            for (key, _) in listed.iter().filter(|(key, _)| key.contains(&folder)) {
                let missed = self.missed.entry(key.clone()).or_default();
                let new: HashSet<Uuid> = ids.difference(missed).copied().collect();
                if new.is_empty() || opened >= FILES_MAX {
                    continue;
                }
                opened += 1;
                let file = match open(records, key).await {
                    Ok(Some(file)) => file,
                    Ok(None) => continue,
                    // The store may answer again the next time; what was found so far counts.
                    Err(error) if error.kind == Kind::Unavailable => return Ok(found),
                    Err(error) => {
                        tracing::error!(file = key, %error, "a capture file cannot be read and is skipped");
                        missed.extend(new);
                        continue;
                    }
                };
                let looked = tokio::task::spawn_blocking(move || (look(&file, &new), new)).await;
                let (hits, new) =
                    looked.map_err(|e| Error::internal("search a capture file").with_source(e))?;
                match hits {
                    Ok(hits) => {
                        missed.extend(new.into_iter().filter(|id| !hits.contains_key(id)));
                        found.extend(hits);
                    }
                    Err(error) => {
                        tracing::error!(file = key, %error, "a capture file cannot be read and is skipped");
                        missed.extend(new);
                    }
                }
            }
        }

        self.missed
            .retain(|key, _| listed.iter().any(|(k, _)| k == key));
        // Ids that are no longer searched for are forgotten.
        self.missed
            .values_mut()
            .for_each(|missed| missed.retain(|id| wanted.contains(id)));
        Ok(found)
    }
}

fn look(file: &Captured, wanted: &HashSet<Uuid>) -> Result<HashMap<Uuid, FoundPrediction>> {
    let mut found = HashMap::new();
    let Some(task) = file.head.task.as_ref().map(super::file::TaskNote::task) else {
        return Ok(found);
    };
    for request in file
        .requests()?
        .into_iter()
        .filter(|r| wanted.contains(&r.prediction))
    {
        let outputs: Vec<Tensor> = file
            .outputs(&request)?
            .into_iter()
            .map(|(_, tensor)| tensor)
            .collect();
        let head = &file.head;
        found.insert(
            request.prediction,
            FoundPrediction {
                model: head.model.clone(),
                version: head.version,
                digest: head.digest.clone(),
                answers: answers(&task, &outputs),
                task: task.clone(),
                slices: Vec::new(),
                parts: Vec::new(),
            },
        );
    }

    Ok(found)
}
