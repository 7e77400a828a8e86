//! The numeric inputs of live rows together: how far each row is from what the baseline's rows have in
//! common.

#[cfg(test)]
mod tests;

use super::VersionWatch;
use crate::core::tensor::{DType, Tensor};
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::column::WatchedColumn;
use crate::observe::drift::layout::{
    ColumnPlace, ColumnValue, RowPart, Side, each_value, find_place,
};
use crate::observe::drift::projection::{MULTIVARIATE, Projection};
use crate::observe::report::drift::ColumnPair;
use std::collections::VecDeque;

/// The inputs that are looked at together.
pub(super) struct Together {
    projection: Projection,
    places: Vec<ColumnPlace>,
    /// The place of the distances among the watched columns.
    column: usize,
    /// The scaled values of a request's rows, row by row.
    scaled: Vec<f64>,
    /// The last rows, from which correlations are found.
    last: VecDeque<Vec<f64>>,
    /// The independent rows of the baseline.
    baseline_rows: f64,
}

/// Rows from which correlations are found.
const LAST_ROWS: usize = 512;
/// The smallest change of a correlation that is told, and how many times what the rows make likely it must be.
const CHANGE_MIN: f64 = 0.15;
const CHANGE_DEVIATIONS: f64 = 4.0;

impl VersionWatch {
    /// Starts to watch the inputs together, if the baseline knows how they fit and none of them is left
    /// out.
    pub(super) fn begin_together(&mut self, baseline: &Baseline) {
        let rules = &self.subject.rules;
        let Some(known) = baseline.multivariate.as_ref() else {
            return;
        };
        if rules.ignores(MULTIVARIATE) {
            return;
        }
        let place = |name: &String| find_place(&self.places, Side::Input, name).cloned();
        let columns = known.projection.columns.iter();
        let is_watched = |name: &&String| !rules.ignores(name);
        let places: Option<Vec<ColumnPlace>> = columns
            .map(|column| Some(&column.name).filter(is_watched).and_then(place))
            .collect();
        let Some(places) = places else { return };

        let distances = ColumnPlace {
            name: MULTIVARIATE.to_owned(),
            side: Side::Input,
            tensor: 0,
            part: RowPart::Together,
            dtype: DType::F64,
        };
        let rule = rules.of(MULTIVARIATE);
        self.together = Some(Together {
            projection: known.projection.clone(),
            places,
            column: self.columns.len(),
            scaled: Vec::new(),
            last: VecDeque::new(),
            baseline_rows: baseline.rows as f64 / known.distances.design_effect,
        });
        self.columns.push(WatchedColumn::new(
            distances,
            known.distances.clone(),
            true,
            rule,
        ));
    }

    /// Counts the distances of a request's rows.
    pub(super) fn observe_together(&mut self, inputs: &[Tensor], rows: usize) {
        let Some(together) = &mut self.together else {
            return;
        };
        let Together {
            projection,
            places,
            column,
            scaled,
            last,
            ..
        } = together;
        let width = places.len();
        scaled.clear();
        scaled.resize(rows * width, 0.0);
        for (at, (place, by)) in places.iter().zip(&projection.columns).enumerate() {
            let Some(tensor) = inputs.get(place.tensor) else {
                continue;
            };
            let mut slots = scaled[at..].iter_mut().step_by(width);
            each_value(place, tensor, |value| {
                if let Some(slot) = slots.next() {
                    *slot = by.scaled(value.number());
                }
            });
        }
        let Some(watched) = self.columns.get_mut(*column) else {
            return;
        };
        for row in scaled.chunks_exact(width) {
            watched.take_value(&ColumnValue::Number(projection.distance(row)));
            let mut kept = if last.len() < LAST_ROWS {
                Vec::new()
            } else {
                last.pop_front().unwrap_or_default()
            };
            kept.clear();
            kept.extend_from_slice(row);
            last.push_back(kept);
        }
    }

    /// Returns the two inputs whose correlation changed most, while the distances are in alarm.
    pub(super) fn changed_pair(&self, column: &WatchedColumn) -> Option<ColumnPair> {
        let together = self.together.as_ref()?;
        let is_alarm = || column.test_results().any(|test| test.alarm);
        if column.place.part != RowPart::Together || !is_alarm() {
            return None;
        }
        let rows = together.last.iter().map(Vec::as_slice);
        let (a, b, then, now) = together.projection.changed_pair(rows)?;
        let likely = (1.0 / together.last.len().max(1) as f64
            + 1.0 / together.baseline_rows.max(1.0))
        .sqrt();
        if (now - then).abs() < CHANGE_MIN.max(CHANGE_DEVIATIONS * likely) {
            // They lie elsewhere, and vary together as before.
            return None;
        }
        let name = |at: usize| together.projection.columns[at].name.clone();
        Some(ColumnPair {
            columns: (name(a), name(b)),
            then,
            now,
        })
    }
}
