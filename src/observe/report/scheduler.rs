//! What the scheduler of a served version knows and does: learned durations, the queue, and why the last
//! batches had their size. The operator API answers it, and the command line reads it.

use serde::{Deserialize, Serialize};

/// The schedulers of a model's versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchedulerReport {
    /// Each version that serves.
    pub versions: Vec<VersionScheduler>,
}

/// The scheduler of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionScheduler {
    /// Name of the model.
    pub model: String,
    /// Number of the version.
    pub version: u64,
    /// Execution provider.
    pub provider: String,
    /// Why requests are not merged; none if they are.
    pub unbatched: Option<String>,
    /// Runs at once.
    pub lanes: usize,
    /// Whether I/O threads make the runs themselves.
    pub in_place: bool,
    /// Most rows of a batch.
    pub batch_rows_max: usize,
    /// The sizes up to which batches are filled, where `batch_invariant` is set.
    pub batch_sizes: Option<Vec<usize>>,
    /// Padding, if it is declared.
    #[serde(default)]
    pub padding: Option<PaddingNow>,
    /// The rows that lanes keep, where a run of other rows than the one before takes long.
    #[serde(default)]
    pub shapes: Option<ShapesNow>,
    /// What waits now.
    pub queue: QueueNow,
    /// Learned durations of each shape class, those with the most runs first.
    pub classes: Vec<ClassDurations>,
    /// The last batches, the newest first.
    pub batches: Vec<BatchTaken>,
    /// Requests that were not served since the version was loaded, by reason.
    pub refused: Vec<RefusedCount>,
}

/// The padding of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaddingNow {
    /// Why requests are not padded; none if they are.
    pub off: Option<String>,
    /// Lengths that requests are padded to.
    pub lengths: Vec<usize>,
    /// Most rows × length of a batch, if it is limited.
    pub tokens_max: Option<usize>,
    /// Tokens, rows × length, of the requests that ran since the version was loaded.
    pub real_tokens: u64,
    /// Tokens that padding added to them.
    pub padded_tokens: u64,
}

/// The rows of the runs of lanes that keep them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShapesNow {
    /// What a change adds to a run.
    pub change_seconds: f64,
    /// Of each lane; 0 before its first run.
    pub rows: Vec<usize>,
    /// Changes since the version was loaded.
    pub changes: u64,
}

/// What waits now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueNow {
    /// Rows that wait.
    pub rows: usize,
    /// Most rows that may wait.
    pub rows_max: usize,
    /// About how long the lanes need for them; none if that is not known yet.
    pub seconds: Option<f64>,
}

/// How long batches of one shape class take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassDurations {
    /// Sizes of the axes of all inputs, without their first axes.
    pub axes: Vec<usize>,
    /// Runs that were noted.
    pub runs: u64,
    /// Rows of the batch that a lane takes if enough wait and no deadline is near.
    pub best_rows: usize,
    /// Each size that ran.
    pub sizes: Vec<SizeDuration>,
}

/// How long batches of one size take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizeDuration {
    /// Mean number of rows.
    pub rows: f64,
    /// Mean duration.
    pub mean_seconds: f64,
    /// Duration that one run of 20 exceeds.
    pub high_seconds: f64,
}

/// A batch that a lane took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchTaken {
    /// How long ago.
    pub age_seconds: f64,
    /// Requests in it.
    pub requests: usize,
    /// Rows in it.
    pub rows: usize,
    /// Rows that still waited.
    pub left_rows: usize,
    /// How long its oldest request had waited.
    pub waited_seconds: f64,
    /// Why it had no more rows.
    pub why: String,
    /// The sizes of all axes but the first, of all inputs; empty if it was merged with no other.
    #[serde(default)]
    pub axes: Vec<usize>,
}

/// How many requests were not served for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedCount {
    /// The reason.
    pub reason: String,
    /// How many.
    pub requests: u64,
}
