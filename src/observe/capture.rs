//! Capture: records sampled predictions in Parquet files of the store, by model, version and hour.
//! One thread writes them and no request waits for it. Predictions that do not fit are dropped and
//! counted.

pub(crate) mod events;
pub mod file;
pub(crate) mod find;
pub mod replay;
pub(crate) mod settings;
pub mod sheet;
pub(crate) mod sweep;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::optional::CheckedInputs;
use crate::core::model::{ModelName, Version};
use crate::core::request::id::{FleetKey, minted_at};
use crate::core::tensor::Tensor;
use crate::observe::drift::observer::answered::Answered;
use crate::observe::drift::observer::{Tap, number};
use crate::observe::drift::watch::WatchSubject;
use crate::observe::metrics::Metrics;
use crate::storage::table::{Column, Table};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use file::CaptureHead;
use parking_lot::Mutex;
use settings::CaptureSettings;
use sheet::{CapturedTensors, Sheet};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};
use uuid::Uuid;

/// Writes a file to the store, and returns when it is stored. May be slow.
pub(crate) type Put = Box<dyn Fn(&str, Vec<u8>) -> Result<()> + Send>;
/// Returns the fleet's key, with which values are hashed, once it is known.
pub(crate) type Keyed = Box<dyn Fn() -> Option<FleetKey> + Send>;

/// Most requests in the queue.
const QUEUE_MAX: usize = 64 << 10;
/// Interval at which files are checked whether they are due.
const TICK: Duration = Duration::from_millis(100);
/// How long a stopping server waits for the last files.
const END: Duration = Duration::from_secs(10);
/// Bytes that a row takes in addition to its values.
const ROW_BYTES: usize = 64;
/// Most open files. Beyond it, all are closed.
const OPEN_MAX: usize = 64;

/// A prediction in the queue.
struct TakenPrediction {
    subject: Arc<WatchSubject>,
    prediction: Uuid,
    inputs: CheckedInputs,
    outputs: Vec<Tensor>,
    bytes: usize,
}

impl TakenPrediction {
    /// Returns the tensors. Without a dynamic first axis, a request is one row.
    fn tensors(&self) -> CapturedTensors<'_> {
        let has_rows = self.subject.signature.has_dynamic_first_axis();
        let inputs = &self.inputs.required;
        let first = inputs.first().filter(|_| has_rows);
        CapturedTensors {
            inputs,
            optional: &self.inputs.optional,
            outputs: &self.outputs,
            rows: first.and_then(Tensor::rows).unwrap_or(1),
        }
    }
}

/// Captures predictions. Dropping it writes the open files.
pub(crate) struct Capture {
    queue: Option<Sender<TakenPrediction>>,
    shared: Arc<CaptureShared>,
    ended: Receiver<()>,
}

struct CaptureShared {
    settings: CaptureSettings,
    /// Bytes in memory, of open files and of the queue.
    bytes: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Capture {
    /// Starts the thread.
    pub(crate) fn start(
        settings: CaptureSettings,
        metrics: Arc<Metrics>,
        put: Put,
        keyed: Keyed,
    ) -> Result<Arc<Mutex<Self>>> {
        let (queue, inbox) = bounded(QUEUE_MAX);
        let (end, ended) = bounded(1);
        let shared = Arc::new(CaptureShared {
            settings,
            bytes: AtomicUsize::new(0),
            metrics,
        });

        let own = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || {
                Keeper {
                    shared: own,
                    put,
                    keyed,
                    open: HashMap::new(),
                }
                .run(&inbox);
                let _ = end.send(());
            })
            .map_err(|e| Error::internal("start the capture thread").with_source(e))?;
        Ok(Arc::new(Mutex::new(Self {
            queue: Some(queue),
            shared,
            ended,
        })))
    }

    /// Returns the tap through which the monitor passes predictions.
    pub(crate) fn tap(capture: &Arc<Mutex<Self>>) -> Tap {
        let capture = Arc::downgrade(capture);
        Box::new(move |answered: &Answered<'_>| {
            if let Some(capture) = capture.upgrade() {
                capture.lock().take(answered);
            }
        })
    }

    fn take(&self, answered: &Answered<'_>) {
        let CaptureShared {
            settings,
            bytes: held,
            metrics,
        } = &*self.shared;

        if (number(answered.prediction) as f64) >= settings.share * u64::MAX as f64 {
            return;
        }
        let tensors = answered.tensors();
        let rows = answered.inputs.first().and_then(Tensor::rows).unwrap_or(1);
        let bytes = tensors.map(Tensor::bytes).sum::<usize>() + rows * ROW_BYTES;
        if bytes > settings.request_bytes_max {
            return metrics.capture.dropped("too_large");
        }
        if held.fetch_add(bytes, Ordering::Relaxed) + bytes > settings.queue_bytes_max {
            held.fetch_sub(bytes, Ordering::Relaxed);
            return metrics.capture.dropped("full");
        }
        let taken = TakenPrediction {
            subject: Arc::clone(answered.subject),
            prediction: answered.prediction,
            inputs: CheckedInputs {
                required: answered.inputs.to_vec(),
                optional: answered.optional.to_vec(),
            },
            outputs: answered.outputs.to_vec(),
            bytes,
        };

        if self
            .queue
            .as_ref()
            .is_none_or(|queue| queue.try_send(taken).is_err())
        {
            held.fetch_sub(bytes, Ordering::Relaxed);
            metrics.capture.dropped("full");
        }
    }

    /// Writes the open files, and captures nothing from then on.
    pub(crate) fn finish(&mut self) {
        if self.queue.take().is_some() && self.ended.recv_timeout(END).is_err() {
            tracing::warn!("some captured predictions were not written before the server stopped");
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.finish();
    }
}

/// An open file.
struct OpenFile {
    head: CaptureHead,
    table: Table,
    bytes: usize,
    since: Instant,
}

impl OpenFile {
    /// Starts a file for a version; none if its predictions cannot be captured.
    fn start(subject: &WatchSubject, settings: &CaptureSettings) -> Option<Self> {
        let sheet = Sheet::new(subject, settings)
            .inspect_err(|error| {
                let model = subject.model.as_str();
                tracing::error!(model, %error, "predictions of a model are not captured");
            })
            .ok()?;

        Some(Self {
            table: sheet.empty(),
            head: CaptureHead::of(subject, sheet),
            bytes: 0,
            since: Instant::now(),
        })
    }

    /// Fills the columns that every file has, for the rows of one prediction.
    fn add_ids(&mut self, prediction: Uuid, since_1970: Duration, rows: usize) {
        let [
            (_, Column::Words(ids)),
            (_, Column::I32(numbers)),
            (_, Column::Time(times)),
            ..,
        ] = self.table.columns.as_mut_slice()
        else {
            unreachable!("every sheet begins with these columns");
        };

        let id = prediction.to_string();
        let time_us = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX);
        ids.extend((0..rows).map(|_| id.clone()));
        numbers.extend((0..rows).map(|row| i32::try_from(row).unwrap_or(i32::MAX)));
        times.extend((0..rows).map(|_| time_us));
    }
}

/// What a file holds: a version and an hour. The model is part of it, because two models may have
/// the same bytes.
type Of = (ModelName, Version, Digest, u64);

/// The state of the thread that writes.
struct Keeper {
    shared: Arc<CaptureShared>,
    put: Put,
    keyed: Keyed,
    /// Open files by version and hour; none for a version that cannot be captured.
    open: HashMap<Of, Option<OpenFile>>,
}

impl Keeper {
    fn run(&mut self, inbox: &Receiver<TakenPrediction>) {
        loop {
            match inbox.recv_timeout(TICK) {
                Ok(taken) => self.take(&taken),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let CaptureSettings {
                rows_max,
                bytes_max,
                age_max,
                ..
            } = self.shared.settings;
            let due = |o: &OpenFile| {
                o.table.rows >= rows_max || o.bytes >= bytes_max || o.since.elapsed() >= age_max
            };
            // A version that cannot be captured stays listed, so that the reason is logged once.
            self.close(|open| open.as_ref().is_some_and(due));
            if self.open.len() > OPEN_MAX {
                self.close(|_| true);
            }
        }

        self.close(|_| true);
    }

    /// Adds a prediction to the open file of its version and hour.
    fn take(&mut self, taken: &TakenPrediction) {
        let subject = &taken.subject;
        let since_1970 = minted_at(taken.prediction)
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .unwrap_or_default();
        let key = (
            subject.model.clone(),
            subject.version,
            subject.digest,
            since_1970.as_secs() / 3600,
        );

        let settings = &self.shared.settings;
        let open = self
            .open
            .entry(key)
            .or_insert_with(|| OpenFile::start(subject, settings));

        let tensors = taken.tensors();
        let fleet_key = (self.keyed)();
        let can_hash = settings.hash.is_empty() || fleet_key.is_some();
        let fitting = open
            .as_mut()
            .filter(|open| can_hash && open.head.sheet.fits(&tensors));
        let Some(open) = fitting else {
            self.shared.bytes.fetch_sub(taken.bytes, Ordering::Relaxed);
            return self.shared.metrics.capture.dropped("refused");
        };

        open.add_ids(taken.prediction, since_1970, tensors.rows);
        open.head
            .sheet
            .add(&mut open.table, &tensors, &fleet_key.unwrap_or_default());
        open.table.rows += tensors.rows;
        open.bytes += taken.bytes;
    }

    /// Closes and writes the files for which `due` holds.
    fn close(&mut self, due: impl Fn(&Option<OpenFile>) -> bool) {
        let keys: Vec<Of> = self
            .open
            .iter()
            .filter(|(_, open)| due(open))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            let Some(Some(open)) = self.open.remove(&key) else {
                continue;
            };
            let metrics = &self.shared.metrics.capture;
            let file = open.head.key(key.3);
            let written = open.head.write(&open.table).and_then(|bytes| {
                let length = bytes.len();
                (self.put)(&file, bytes).map(|()| length)
            });
            match written {
                Ok(bytes) => metrics.record_file(&open.head.model, open.table.rows, bytes),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(file, %error, cause, rows = open.table.rows, "captured predictions are lost because the store cannot be written");
                    metrics.lost(open.table.rows);
                }
            }
            self.shared.bytes.fetch_sub(open.bytes, Ordering::Relaxed);
        }
    }
}
