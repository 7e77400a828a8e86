//! The label log: gathers lines of many requests, writes them together and confirms each request when
//! they are stored. Files of other servers are found by the hour in their names.

#[cfg(test)]
mod tests;

use super::line::{self, FOLDER, LabelLine, hour};
use crate::core::error::{Error, Result};
use crate::storage::layout::Records;
use crate::storage::store::{Created, in_time};
use chrono::{TimeDelta, Utc};
use futures_util::stream::TryStreamExt;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Most requests that wait to be written.
const WAITING_MAX: usize = 1_024;
/// Most lines written at once.
const LINES_MAX: usize = 50_000;
/// How long the first request waits for others.
const GATHER: Duration = Duration::from_millis(5);
/// Time limit for writing lines. Beyond it they are not acknowledged, though the store may have them.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// Most bytes of a file that is read.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Lines of one request that wait to be written.
struct Append {
    lines: Vec<LabelLine>,
    done: oneshot::Sender<Result<()>>,
}

/// The handle to the task that writes the log.
#[derive(Clone)]
pub(crate) struct LabelLog(mpsc::Sender<Append>);

impl LabelLog {
    /// Starts the task that writes, on this runtime.
    pub(crate) fn start(records: Records, runtime: &tokio::runtime::Handle) -> Self {
        Self::start_within(WRITE_MAX, records, runtime)
    }

    /// Starts it with another time limit for writes.
    pub(crate) fn start_within(
        limit: Duration,
        records: Records,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let (appends, inbox) = mpsc::channel(WAITING_MAX);
        runtime.spawn(run(records, inbox, limit));
        Self(appends)
    }

    /// Writes lines. Returns when they are in the store.
    pub(crate) async fn append(&self, lines: Vec<LabelLine>) -> Result<()> {
        let (done, written) = oneshot::channel();
        let ended = |_| Error::unavailable("the server is stopping and accepts no labels");
        self.0
            .try_send(Append { lines, done })
            .map_err(|_| Error::overloaded("too many labels wait to be stored; retry"))?;
        written.await.map_err(ended)?
    }
}

async fn run(records: Records, mut inbox: mpsc::Receiver<Append>, limit: Duration) {
    while let Some(first) = inbox.recv().await {
        tokio::time::sleep(GATHER).await;
        let mut gathered = vec![first];
        let mut count = gathered[0].lines.len();
        while count < LINES_MAX
            && let Ok(next) = inbox.try_recv()
        {
            count += next.lines.len();
            gathered.push(next);
        }
        let all: Vec<LabelLine> = gathered
            .iter()
            .flat_map(|a| a.lines.iter().cloned())
            .collect();
        let written = in_time(limit, store_lines(&records, &all)).await;
        for append in gathered {
            let told = written.as_ref().copied().map_err(Error::duplicate);
            // The request may have been cancelled; its lines are stored all the same.
            let _ = append.done.send(told);
        }
    }
}

async fn store_lines(records: &Records, lines: &[LabelLine]) -> Result<()> {
    let key = format!(
        "{FOLDER}/{}/{}.jsonl",
        hour(Utc::now()),
        uuid::Uuid::now_v7()
    );

    match records.create(&key, line::write(lines)).await? {
        // The name is unique: an existing file was written by an earlier attempt.
        Created::Yes | Created::Exists => Ok(()),
    }
}

/// The files of the log that were read.
#[derive(Default)]
pub(crate) struct Reader {
    read: BTreeSet<String>,
}

impl Reader {
    /// Reads the new files of the last `hours` hours, the oldest first. Damaged files are logged
    /// and skipped.
    pub(crate) async fn read(
        &mut self,
        records: &Records,
        hours: u32,
        take: &mut (dyn FnMut(Vec<LabelLine>) + Send),
    ) -> Result<()> {
        let oldest = hour(Utc::now() - TimeDelta::hours(i64::from(hours)));
        let folder = |key: &str| key.split('/').nth(1).unwrap_or_default().to_owned();
        let mut new: Vec<String> = Vec::new();
        // For a few hours, only their folders are listed.
        let folders: Vec<String> = match hours {
            0..=3 => (0..=hours)
                .map(|n| format!("{FOLDER}/{}", hour(Utc::now() - TimeDelta::hours(n.into()))))
                .collect(),
            _ => vec![FOLDER.to_owned()],
        };

        for below in folders {
            let listed: Vec<_> = records.list(&below).try_collect().await?;
            let fresh = |key: &String| {
                folder(key) >= oldest && key.ends_with(".jsonl") && !self.read.contains(key)
            };
            new.extend(listed.into_iter().map(|(key, _)| key).filter(fresh));
        }

        new.sort();
        for key in new {
            // Files that were read stay read; the rest is read the next time.
            let bytes = records.get(&key, FILE_BYTES_MAX).await?;
            match bytes.as_deref().map_or_else(|| Ok(Vec::new()), line::read) {
                Ok(read) => take(read),
                Err(error) => {
                    tracing::error!(file = key, %error, "a file of the label log cannot be read and is skipped")
                }
            }
            self.read.insert(key);
        }

        // Files that are no longer listed are forgotten.
        self.read.retain(|key| folder(key) >= oldest);
        Ok(())
    }
}
