//! The second phase: divides the rows into folds, and keeps the manifest of the data.

use super::Job;
use super::dataset::{Dataset, gate_measure};
use crate::data::Rows;
use crate::judge::measure::LossMeasure;
use crate::split::{self, Fold, SplitSummary};
use ortus::core::error::{Error, Result};

/// A dataset with its folds.
pub(super) struct Split {
    pub dataset: Dataset,
    /// The measure that gates compare.
    pub measure: LossMeasure,
    /// The fold of the model that is published.
    pub fold: Fold,
    /// Folds of earlier origins.
    pub earlier: Vec<Fold>,
    pub summary: SplitSummary,
}

impl Split {
    /// Divides the rows as `[split]` says.
    pub(super) fn of(job: &Job<'_>, dataset: Dataset) -> Result<Self> {
        let measure = gate_measure(job.spec, &dataset.rows)?;
        let (mut earlier, summary) = split::split(job.spec, &dataset.rows)?;
        let fold = earlier
            .pop()
            .ok_or_else(|| Error::internal("the split has no origin"))?;
        Ok(Self {
            dataset,
            measure,
            fold,
            earlier,
            summary,
        })
    }

    pub(super) fn rows(&self) -> &Rows {
        &self.dataset.rows
    }
}
