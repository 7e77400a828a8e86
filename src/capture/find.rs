//! What was answered long ago: the rows of predictions, found in captured files
//! by the hour that their ids tell.

use super::file::{Captured, FOLDER, name};
use super::replay::open;
use crate::error::Result;
use crate::monitor::performance::answer::{Answer, answers};
use crate::records::Records;
use crate::request::id::minted;
use crate::tensor::Tensor;
use futures_util::stream::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::UNIX_EPOCH;
use uuid::Uuid;

/// Files opened at one look; the rest waits for the next.
const FILES_MAX: usize = 64;

/// What is known of a prediction.
pub(crate) struct Found {
    pub model: String,
    pub version: u64,
    pub digest: String,
    pub task: crate::model::task::Task,
    /// Of each row.
    pub answers: Vec<Option<Answer>>,
}

/// Files that were looked through in vain need not be opened again for the
/// same predictions.
#[derive(Default)]
pub(crate) struct Finder {
    seen: BTreeMap<String, u128>,
}

impl Finder {
    /// Finds predictions; those that are nowhere are left out.
    pub(crate) async fn find(&mut self, records: &Records, wanted: &BTreeSet<Uuid>) -> Result<HashMap<Uuid, Found>> {
        let mut found = HashMap::new();
        let mut by_hour: BTreeMap<u64, Vec<Uuid>> = BTreeMap::new();
        for id in wanted {
            let since = minted(*id).and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
            by_hour.entry(since.as_secs() / 3600).or_default().push(*id);
        }
        if by_hour.is_empty() {
            return Ok(found);
        }
        let listed: Vec<(String, _)> = records.list(FOLDER).try_collect().await?;
        let mut opened = 0;
        for (hour, ids) in by_hour {
            let folder = format!("/hour={}/", name(hour));
            // Whoever was wanted before and is wanted still is not in it.
            let sum = ids.iter().fold(0_u128, |sum, id| sum.wrapping_add(id.as_u128()));
            for (key, _) in listed.iter().filter(|(key, _)| key.contains(&folder)) {
                if self.seen.get(key) == Some(&sum) || opened >= FILES_MAX {
                    continue;
                }
                opened += 1;
                if let Some(file) = open(records, key).await? {
                    look(&file, &ids, &mut found)?;
                }
                self.seen.insert(key.clone(), sum);
            }
        }
        self.seen.retain(|key, _| listed.iter().any(|(k, _)| k == key));
        Ok(found)
    }
}

fn look(file: &Captured, wanted: &[Uuid], found: &mut HashMap<Uuid, Found>) -> Result<()> {
    let Some(task) = file.head.task.as_ref().map(super::file::TaskNote::task) else { return Ok(()) };
    for request in file.requests()?.into_iter().filter(|r| wanted.contains(&r.prediction)) {
        let outputs: Vec<Tensor> = file.outputs(&request)?.into_iter().map(|(_, tensor)| tensor).collect();
        let head = &file.head;
        found.insert(
            request.prediction,
            Found {
                model: head.model.clone(),
                version: head.version,
                digest: head.digest.clone(),
                answers: answers(&task, &outputs),
                task: task.clone(),
            },
        );
    }
    Ok(())
}
