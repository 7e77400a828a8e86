//! A servable's handle to its monitor: checks requests against the contract, decides whether they
//! are offered, and queues them. Runs on the threads that serve requests; never waits.

use super::{MonitorShared, number};
use crate::core::model::optional::CheckedInputs;
use crate::core::request::id::minted_at;
use crate::core::tensor::Tensor;
use crate::observe::drift::contract::Contracts;
use crate::observe::drift::layout::Side;
use crate::observe::drift::traffic::Traffic;
use prometheus::IntCounter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;
use uuid::Uuid;

/// An answered request in the queue.
pub(super) struct Offer {
    pub watch: u64,
    pub prediction: Uuid,
    /// Without tensors if only the answer is needed.
    pub inputs: CheckedInputs,
    pub outputs: Vec<Tensor>,
    /// Whether the floor of rows decided that it is counted.
    pub is_of_floor: bool,
    /// Whether the inputs are missing, so that it cannot be counted.
    pub is_answer_only: bool,
    pub bytes: usize,
}

/// A request that was checked, until its answer.
pub(crate) struct AskedRequest {
    rows: u64,
    /// The inputs, if they may be needed.
    inputs: Option<CheckedInputs>,
}

/// A servable's handle to its monitor. Dropping it ends the monitoring.
pub(crate) struct Observer {
    pub(super) shared: Arc<MonitorShared>,
    pub(super) watch: u64,
    pub(super) contracts: Arc<Contracts>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) dropped: IntCounter,
    pub(super) needs: LabelNeeds,
}

/// What labels need of the predictions of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LabelNeeds {
    Nothing,
    Answers,
    /// The inputs too: they tell the part of each slice.
    AnswersAndInputs,
}

impl Observer {
    /// Checks the inputs of a request against the contract. Keeps a copy if the request may be
    /// offered; the copy shares the bytes.
    pub(crate) fn asked(&self, prediction: Uuid, inputs: &CheckedInputs) -> AskedRequest {
        self.contracts.count(Side::Input, &inputs.required);
        let rows = inputs.required.first().and_then(Tensor::rows).unwrap_or(1) as u64;
        let is_needed = self.needs == LabelNeeds::AnswersAndInputs
            || self.shared.is_wanted(number(prediction))
            || self.has_room();

        AskedRequest {
            rows,
            inputs: is_needed.then(|| inputs.clone()),
        }
    }

    /// Tells whether the floor of this minute has room for a request.
    pub(super) fn has_room(&self) -> bool {
        let rows_min = self.shared.options.settings.rows_min_per_minute;
        self.traffic.floor.has_room(self.shared.minute(), rows_min)
    }

    /// Counts an answered request, and offers it if it is sampled, tapped or may receive labels. The
    /// tensors share their bytes with the response.
    pub(crate) fn answered(&self, prediction: Uuid, asked: AskedRequest, outputs: &[Tensor]) {
        self.contracts.count(Side::Output, outputs);
        self.traffic.rows.fetch_add(asked.rows, Ordering::Relaxed);

        let minute = self.shared.minute();
        let rows_min = self.shared.options.settings.rows_min_per_minute;
        let is_of_floor =
            asked.inputs.is_some() && self.traffic.floor.take(minute, asked.rows, rows_min);
        let needs_inputs = is_of_floor
            || self.needs == LabelNeeds::AnswersAndInputs
            || self.shared.is_wanted(number(prediction));
        let inputs = asked.inputs.filter(|_| needs_inputs);
        if inputs.is_none() && self.needs == LabelNeeds::Nothing {
            return;
        }

        let is_answer_only = inputs.is_none();
        let is_queued = self.offer(Offer {
            watch: self.watch,
            prediction,
            inputs: inputs.unwrap_or_default(),
            outputs: outputs.to_vec(),
            is_of_floor,
            is_answer_only,
            bytes: 0,
        });
        if !is_queued && is_of_floor {
            self.traffic.floor.give_back(minute, asked.rows);
        }
    }

    /// Queues a request, or drops it if the queue is full. Tells whether it is queued.
    fn offer(&self, mut offer: Offer) -> bool {
        let tensors = offer.inputs.tensors().chain(&offer.outputs);
        offer.bytes = tensors.map(Tensor::bytes).sum();
        let (bytes, prediction) = (offer.bytes, offer.prediction);
        let waiting = &self.shared.waiting_bytes;
        let before = waiting.fetch_add(bytes, Ordering::Relaxed);

        let fits = before + bytes <= self.shared.options.settings.queue_bytes_max;
        if fits && self.shared.offers.try_send(offer).is_ok() {
            return true;
        }

        waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.dropped.inc();
        if self.needs != LabelNeeds::Nothing {
            self.shared.lost.note(prediction);
        }
        false
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // Its metrics are removed with it.
        self.shared.watches.lock().remove(&self.watch);
    }
}

/// Predictions that did not fit the queue although labels may come for them, since the last look.
pub(super) struct LostOffers {
    predictions: AtomicU64,
    from_ms: AtomicU64,
    to_ms: AtomicU64,
}

impl LostOffers {
    /// Starts with none.
    pub(super) fn new() -> Self {
        Self {
            predictions: AtomicU64::new(0),
            from_ms: AtomicU64::new(u64::MAX),
            to_ms: AtomicU64::new(0),
        }
    }

    fn note(&self, prediction: Uuid) {
        let since = minted_at(prediction).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let ms = since.map_or(0, |since| since.as_millis() as u64);
        self.from_ms.fetch_min(ms, Ordering::Relaxed);
        self.to_ms.fetch_max(ms, Ordering::Relaxed);
        self.predictions.fetch_add(1, Ordering::Release);
    }

    /// Returns how many there were, and when the first and the last were made; none if there were
    /// none.
    pub(super) fn take(&self) -> Option<(u64, u64, u64)> {
        let predictions = self.predictions.swap(0, Ordering::Acquire);
        let from_ms = self.from_ms.swap(u64::MAX, Ordering::Relaxed);
        let to_ms = self.to_ms.swap(0, Ordering::Relaxed);
        (predictions > 0).then_some((predictions, from_ms.min(to_ms), to_ms))
    }
}
