//! The share of rows that may violate the contract: what the baseline's own rows make likely. Pure.

use crate::observe::drift::baseline::{BaselineColumn, ValueDistribution};
use crate::observe::drift::contract::BreachKind;
use crate::observe::drift::distance::share_at_most;
use crate::observe::drift::kind::ColumnKind;

/// How unlikely it is that the share of healthy rows is above what is allowed.
const UNLIKELY: f64 = 1e-4;

/// Rows of a baseline from which a cyclic column has had all its values.
const CYCLIC_ROWS_MIN: f64 = 1_000.0;

/// The shares that are allowed, before the smallest share that matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Allowance {
    missing: f64,
    outside: f64,
    unseen: f64,
    infinite: f64,
    /// Design effect of missing values.
    missing_effect: f64,
}

impl Allowance {
    /// Allows everything: the column is ignored.
    pub(crate) const ALL: Self = Self {
        missing: 1.0,
        outside: 1.0,
        unseen: 1.0,
        infinite: 1.0,
        missing_effect: 1.0,
    };
    /// Allows no NaN and no infinite values, and everything else: there is no baseline.
    pub(crate) const NUMBERS: Self = Self {
        missing: 0.0,
        infinite: 0.0,
        ..Self::ALL
    };

    /// Derives the shares from a column of the baseline.
    pub(crate) fn of_baseline(column: &BaselineColumn) -> Self {
        let present = column.counts().iter().sum::<u64>() as f64;
        let rows = present + column.missing as f64;
        let effect = column.missing_effect;
        let missing = share_at_most(column.missing as f64 / effect, rows / effect, UNLIKELY);

        // No value of the baseline lies outside its own range.
        let outside = share_at_most(0.0, present / column.design_effect, UNLIKELY);
        // Few rows do not go round a calendar.
        let few = column.kind == ColumnKind::Cyclic && present < CYCLIC_ROWS_MIN;
        let (unseen, infinite) = match &column.values {
            ValueDistribution::Words(listed) => {
                // The share of new categories is about that of categories seen once.
                let singles = if few { present } else { listed.singles as f64 };
                let new = share_at_most(singles, present, UNLIKELY);
                let is_open = listed.open && listed.filter.is_none();
                (if is_open { 1.0 } else { new }, 0.0)
            }
            ValueDistribution::Numbers(numbers) => {
                let finite_ends = numbers
                    .counts
                    .first()
                    .into_iter()
                    .chain(numbers.counts.last());
                let beyond: u64 = finite_ends.sum();
                let infinite = share_at_most(beyond as f64, present, UNLIKELY);
                let new = share_at_most(if few { present } else { 0.0 }, present, UNLIKELY);
                (new, if beyond > 0 { infinite } else { 0.0 })
            }
        };

        let is_identifier = column.kind == ColumnKind::Identifier;
        Self {
            missing,
            outside: if moves(column) { 0.0 } else { outside },
            unseen: if is_identifier { 1.0 } else { unseen },
            infinite,
            missing_effect: effect,
        }
    }

    pub(super) fn set_missing_effect(&mut self, effect: f64) {
        self.missing_effect = effect;
    }

    pub(super) fn of(&self, kind: BreachKind) -> f64 {
        match kind {
            BreachKind::Missing => self.missing,
            BreachKind::Infinite => self.infinite,
            BreachKind::Below | BreachKind::Above => self.outside,
            BreachKind::Unseen => self.unseen,
        }
    }

    /// Returns how many rows are worth one independent row.
    pub(super) fn effect(&self, kind: BreachKind) -> f64 {
        match kind {
            BreachKind::Missing => self.missing_effect,
            _ => 1.0,
        }
    }
}

/// Tells whether the range of a column is wider than that of its baseline already.
fn moves(column: &BaselineColumn) -> bool {
    matches!(column.kind, ColumnKind::Unsteady | ColumnKind::Trending)
}
