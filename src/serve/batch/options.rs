//! How the requests of a servable are batched: its settings, and what was found out at load.

use super::cost::BatchCost;
use super::input_axes::InputAxes;
use crate::core::model::padding::PaddingPlan;
use crate::onnx::batchability::invariance::InvariantSizes;
use std::sync::Arc;
use std::time::Duration;

/// How the requests of a servable are batched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BatchOptions {
    /// Whether requests may be merged; otherwise each runs alone.
    pub batched: bool,
    /// Most rows of a batch, and of one request.
    pub batch_rows_max: usize,
    /// The sizes that batches have; any, if it is none.
    pub sizes: Option<InvariantSizes>,
    /// Most rows in the queue; beyond it, requests are refused.
    pub queue_rows_max: usize,
    /// How long a request without a deadline may wait in the queue.
    pub queue_timeout: Duration,
    /// How long the oldest request may wait for others to join its batch.
    pub batch_delay: Duration,
    /// What is known of the durations of batches at the start.
    pub cost: BatchCost,
    /// Whether runs change it.
    pub learns: bool,
    /// Whether runs are so short that the I/O thread makes them itself, because handing them to a
    /// lane would cost more.
    pub in_place: bool,
    /// What it adds to a run that its rows are others than those of the run before, where that is long.
    pub shape_change: Option<Duration>,
    /// How far below other threads those of lanes are in priority.
    pub lane_niceness: u32,
    /// How requests of different lengths are padded, if that is declared.
    pub padding: Option<Arc<PaddingPlan>>,
    /// What messages say of the inputs.
    pub inputs: Arc<InputAxes>,
}

impl BatchOptions {
    /// Most rows of requests that are merged.
    pub(crate) fn merged_rows_max(&self) -> usize {
        let largest = self.sizes.as_ref().map(InvariantSizes::largest);
        largest.map_or(self.batch_rows_max, |rows| rows.min(self.batch_rows_max))
    }
}
