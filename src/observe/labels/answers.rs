//! The answers of every prediction, kept in the store of records until their labels come: written by
//! the server that predicts, found by any server of the fleet. Writing never delays a prediction;
//! what the store does not take in time is lost, counted, and noted.

mod counts;
pub(crate) mod lookup;
pub(crate) mod name;
pub(super) mod segment;
mod spill;
pub(crate) mod sweep;
pub(crate) mod tally;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::observe::drift::observer::answered::Answered;
use crate::storage::layout::Records;
use crate::storage::store::in_time;
use name::{LossReason, TimeSpan, lost_key, rows_key};
use parking_lot::Mutex;
use spill::{Spill, WAITING_BYTES_MAX};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tally::TallyReader;
use uuid::Uuid;

/// Interval at which segments are checked whether they are due.
const CHECK: Duration = Duration::from_millis(200);
/// Time limit for writing an object.
const PUT_MAX: Duration = Duration::from_secs(30);
/// Time between two attempts while the store fails.
const RETRY: Duration = Duration::from_secs(2);

/// The answers that this server keeps in the store.
pub(crate) struct AnswerStore {
    records: Records,
    spill: Mutex<Spill>,
    /// Names this run of the server.
    run: Uuid,
    /// When the predicted rows were written last. Locked while something is written.
    written: tokio::sync::Mutex<Option<Instant>>,
    flush: Duration,
    is_failing: AtomicBool,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WrittenAnswers {
    pub predictions: usize,
    pub bytes: usize,
}

impl AnswerStore {
    /// Starts empty. A segment is written after `flush` at the latest.
    pub(crate) fn new(records: Records, flush: Duration) -> Self {
        Self {
            records,
            spill: Mutex::new(Spill::new(flush, WAITING_BYTES_MAX)),
            run: Uuid::new_v4(),
            written: tokio::sync::Mutex::new(None),
            flush,
            is_failing: AtomicBool::new(false),
        }
    }

    /// Keeps the answers of a prediction. Returns false if memory is full: then they are lost.
    pub(crate) fn keep(&self, answered: &Answered<'_>, now: Instant) -> bool {
        self.spill.lock().add(answered, now)
    }

    /// Notes that answers of a span were lost.
    pub(crate) fn lose(&self, reason: LossReason, span: TimeSpan, predictions: u64) {
        self.spill.lock().lose(reason, span, predictions);
    }

    /// Returns a reader of the rows that other runs predicted.
    pub(crate) fn tallies(&self) -> TallyReader {
        TallyReader::new(self.run)
    }

    /// Writes what is due; everything if `is_end`. What fails stays in memory for the next time.
    pub(crate) async fn write(&self, now: Instant, is_end: bool) -> Result<WrittenAnswers> {
        let mut last = self.written.lock().await;
        self.spill.lock().close(now, is_end);
        let mut written = WrittenAnswers::default();
        loop {
            let next = self.spill.lock().next();
            let Some(closed) = next else { break };
            let segment = closed.segment;
            let predictions = segment.predictions();
            let encoded = tokio::task::spawn_blocking(move || segment.write()).await;
            let bytes = encoded.map_err(|e| Error::internal("write answers").with_source(e))?;
            written.bytes += bytes.len();
            written.predictions += predictions;
            self.put(&closed.key, bytes).await?;
            self.spill.lock().written(&closed.key);
        }

        self.note_losses().await?;
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= self.flush);
        if is_end || is_due {
            self.write_rows().await?;
            *last = Some(now);
        }
        Ok(written)
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let create = self.records.create(key, bytes.into());
        // An existing object is that of an attempt whose answer was lost: its name is unique.
        in_time(PUT_MAX, create).await.map(drop)
    }

    async fn note_losses(&self) -> Result<()> {
        let mut lost = self.spill.lock().take_lost().into_iter();
        while let Some((reason, span, predictions)) = lost.next() {
            let note = serde_json::json!({"format": 1, "predictions": predictions});
            let key = lost_key(span, reason);
            let put = self.put(&key, note.to_string().into_bytes()).await;
            if let Err(error) = put {
                let mut spill = self.spill.lock();
                spill.lose(reason, span, predictions);
                lost.for_each(|(reason, span, count)| spill.lose(reason, span, count));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write_rows(&self) -> Result<()> {
        let changed = self.spill.lock().rows.take_changed();
        let mut failed = None;
        for (hour, bytes) in changed {
            let put = match &failed {
                None => {
                    in_time(
                        PUT_MAX,
                        self.records
                            .overwrite(&rows_key(hour, self.run), bytes.into()),
                    )
                    .await
                }
                Some(_) => Err(Error::unavailable("the store failed before")),
            };
            if let Err(error) = put {
                self.spill.lock().rows.failed(hour);
                failed = failed.or(Some(error));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Logs a failure of the store once, and its end.
    fn note_outcome(&self, error: Option<&Error>) {
        let was_failing = self.is_failing.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !was_failing => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(%error, cause, "answers cannot be written to the store; they wait in memory, and labels may not find the ones that do not fit");
            }
            None if was_failing => tracing::info!("answers are written to the store again"),
            _ => {}
        }
    }
}

/// Writes segments as they are due, until the store is dropped.
pub(crate) async fn run(
    store: Weak<AnswerStore>,
    report: impl Fn(WrittenAnswers) + Send + Sync + 'static,
) {
    loop {
        let Some(own) = store.upgrade() else { return };
        let written = own.write(Instant::now(), false).await;
        own.note_outcome(written.as_ref().err());
        let pause = match written {
            Ok(written) => {
                report(written);
                CHECK
            }
            Err(_) => RETRY,
        };
        drop(own);
        tokio::time::sleep(pause).await;
    }
}
