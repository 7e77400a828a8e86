//! The first rows of a version without a baseline, of which it makes its own. Bounded: many columns are
//! gathered for fewer rows.

use super::VersionWatch;
use super::start::breach_watch;
use crate::core::error::short;
use crate::core::tensor::Tensor;
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::contract::Widened;
use crate::observe::drift::facts::RowFacts;
use crate::observe::drift::layout::{ColumnPlace, Side, each_value};
use crate::observe::drift::reference::ReferenceRows;
use crate::observe::drift::series::ColumnSeries;
use crate::observe::drift::series::saved::SavedSeries;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::drift::slice::choice::{SLICES_MAX, SliceChoice};
use crate::observe::report::column::BaselineSource;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Most values that are kept to build a baseline, over all columns.
const OWN_VALUES_MAX: usize = 4 << 20;
/// Most gathered values that the next process gets: more would not fit its object.
const SAVED_VALUES_MAX: usize = 2 << 20;

/// Values of the first rows, by column.
#[derive(Default)]
pub(super) struct Gathering {
    series: Vec<ColumnSeries>,
    rows: usize,
}

/// The first rows for the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedGathering {
    rows: usize,
    columns: Vec<(Side, String, SavedSeries)>,
}

#[cfg(test)]
impl SavedGathering {
    /// Returns how many values each column has.
    pub(super) fn lengths(self) -> Vec<usize> {
        let length =
            |(.., values): (Side, String, SavedSeries)| values.read().expect("whole bytes").rows();
        self.columns.into_iter().map(length).collect()
    }
}

impl Gathering {
    pub(super) fn new(places: &[ColumnPlace]) -> Self {
        Self {
            series: places.iter().map(ColumnSeries::of).collect(),
            rows: 0,
        }
    }

    /// Returns the rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns how many rows make a baseline.
    pub(super) fn needed(&self, settings: &MonitorSettings) -> usize {
        let most = OWN_VALUES_MAX / self.series.len().max(1);
        settings.own_rows.min(most)
    }

    /// Adds the rows of a request; `of` returns the tensor of a column.
    pub(super) fn take<'t>(
        &mut self,
        places: &[ColumnPlace],
        of: impl Fn(&ColumnPlace) -> Option<&'t Tensor>,
        rows: usize,
    ) {
        for (place, series) in places.iter().zip(&mut self.series) {
            if let Some(tensor) = of(place) {
                each_value(place, tensor, |value| series.push(&value));
            }
        }
        self.rows += rows;
    }

    /// Makes the baseline.
    pub(super) fn baseline(&self, places: &[ColumnPlace], slices: &SliceChoice) -> Baseline {
        let rows = ReferenceRows {
            places,
            series: &self.series,
            importances: &BTreeMap::new(),
            facts: &RowFacts::default(),
            lost: &[],
            threads: 1,
        };
        Baseline {
            source: "the first rows that the version served".to_owned(),
            ..rows.baseline(self.rows as u64, slices)
        }
    }

    /// Returns what the next process needs; none if it is too much.
    pub(super) fn save(&self, places: &[ColumnPlace]) -> Option<SavedGathering> {
        let values: usize = self.series.iter().map(ColumnSeries::rows).sum();
        if values > SAVED_VALUES_MAX {
            return None;
        }
        let one = |(place, series): (&ColumnPlace, &ColumnSeries)| {
            (place.side, place.name.clone(), SavedSeries::of(series))
        };
        Some(SavedGathering {
            rows: self.rows,
            columns: places.iter().zip(&self.series).map(one).collect(),
        })
    }

    /// Goes on with the rows of an earlier process. Refuses other columns.
    pub(super) fn restore(
        &mut self,
        saved: SavedGathering,
        places: &[ColumnPlace],
    ) -> Result<(), String> {
        if saved.columns.len() != places.len() {
            return Err("its columns are different".to_owned());
        }
        let mut series = Vec::with_capacity(places.len());
        for (place, (side, name, values)) in places.iter().zip(saved.columns) {
            let read = values.read().filter(|read| {
                (side, &name) == (place.side, &place.name) && read.is_like(&ColumnSeries::of(place))
            });
            series.push(read.ok_or_else(|| {
                format!(
                    "the first values of '{}' are of another column",
                    short(&place.name)
                )
            })?);
        }
        *self = Self {
            series,
            rows: saved.rows,
        };
        Ok(())
    }
}

impl VersionWatch {
    /// Starts to compare with the version's own baseline.
    pub(super) fn begin_own(&mut self, baseline: Baseline, now: Instant) {
        self.contracts.begin(&self.places, &baseline, Widened::Own);
        let counts = self.earlier.and(self.contracts.counts());
        self.breaches = breach_watch(
            (&self.contracts, counts),
            &self.places,
            &self.subject,
            Some(&baseline),
            now,
        );
        self.begin(&baseline, BaselineSource::Own);
        self.own = Some(Arc::new(baseline));
    }

    /// Returns the columns that its own baseline is sliced by: those of labelled rows, as far as a
    /// baseline may have as many.
    pub(super) fn slice_choice(&self) -> SliceChoice {
        let named = &self.subject.slices;
        if named.is_empty() {
            return SliceChoice::Fitting;
        }
        SliceChoice::Named(named.iter().take(SLICES_MAX).cloned().collect())
    }

    /// Returns the version's own baseline, once it is made.
    pub(crate) fn own_baseline(&self) -> Option<&Arc<Baseline>> {
        self.own.as_ref()
    }

    /// Returns the version's own baseline, if it was made since the last call.
    pub(crate) fn take_made_baseline(&mut self) -> Option<Arc<Baseline>> {
        let is_new = std::mem::take(&mut self.is_own_new);
        self.own.clone().filter(|_| is_new)
    }

    /// Returns how many of the rows of which the version makes its own baseline are gathered, and how
    /// many are needed; none while it does not gather.
    pub(crate) fn gathered(&self, settings: &MonitorSettings) -> Option<(u64, u64)> {
        let needed = self.gathered.needed(settings) as u64;
        (self.source == BaselineSource::Gathering).then_some((self.gathered.rows as u64, needed))
    }
}
