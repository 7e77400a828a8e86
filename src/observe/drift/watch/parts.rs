//! The parts of slices among live rows, each with distributions of its own: what changes in one part may
//! be hidden in the whole.

#[cfg(test)]
mod tests;

use super::VersionWatch;
use crate::core::tensor::Tensor;
use crate::observe::drift::baseline::part::BaselinePart;
use crate::observe::drift::baseline::{Baseline, BaselineColumn};
use crate::observe::drift::column::WatchedColumn;
use crate::observe::drift::column::state::SavedColumn;
use crate::observe::drift::layout::{ColumnPlace, Side, each_value, find_place};
use crate::observe::drift::slice::Slicer;
use crate::observe::report::column::SlicePart;
use std::time::Instant;

/// The watched parts of all slices.
#[derive(Default)]
pub(super) struct WatchedParts {
    slices: Vec<WatchedSlice>,
    pub parts: Vec<WatchedPart>,
    pub columns: Vec<PartColumn>,
}

/// A part of a slice.
pub(super) struct WatchedPart {
    pub of: SlicePart,
    /// Rows of the part in the baseline.
    pub baseline_rows: u64,
}

/// A column of a part.
pub(super) struct PartColumn {
    /// The name of the column in the whole.
    pub name: String,
    /// The number of its part.
    pub part: usize,
    pub watched: WatchedColumn,
}

/// The column that decides the part of a row, and the columns that are counted by part.
struct WatchedSlice {
    slicer: Slicer,
    columns: Vec<SlicedColumn>,
    /// The part of each row of a request.
    rows: Vec<usize>,
}

/// A column of the whole, and where its values go by the part of the row.
struct SlicedColumn {
    place: ColumnPlace,
    by_part: Vec<Option<usize>>,
}

impl WatchedParts {
    /// Starts to watch the parts of a baseline. `watch` tells whether a column is watched, and makes it.
    fn new(
        baseline: &Baseline,
        places: &[ColumnPlace],
        watch: impl Fn(&ColumnPlace, &BaselineColumn, &SlicePart) -> Option<WatchedColumn>,
    ) -> Self {
        let mut all = Self::default();
        for part in &baseline.parts {
            let Some(slice) = all.slice(&part.slice, baseline, places) else {
                continue;
            };
            let Some(number) = all.slices[slice].slicer.named(&part.part) else {
                continue;
            };
            all.add((slice, number), part, places, &watch);
        }
        all
    }

    /// Returns the number of a slice, which is added if it is new.
    fn slice(&mut self, name: &str, baseline: &Baseline, places: &[ColumnPlace]) -> Option<usize> {
        let known = |slice: &WatchedSlice| slice.slicer.column() == name;
        if let Some(at) = self.slices.iter().position(known) {
            return Some(at);
        }
        let place = find_place(places, Side::Input, name)?;
        let column = baseline.inputs.iter().find(|c| c.name == name)?;
        self.slices.push(WatchedSlice {
            slicer: Slicer::new(place.clone(), Some(column)),
            columns: Vec::new(),
            rows: Vec::new(),
        });
        Some(self.slices.len() - 1)
    }

    /// Adds a part with its columns.
    fn add(
        &mut self,
        (slice, number): (usize, usize),
        part: &BaselinePart,
        places: &[ColumnPlace],
        watch: &impl Fn(&ColumnPlace, &BaselineColumn, &SlicePart) -> Option<WatchedColumn>,
    ) {
        let of = SlicePart {
            slice: part.slice.clone(),
            part: part.part.clone(),
        };
        let sides = [(Side::Input, &part.inputs), (Side::Output, &part.outputs)];
        for (side, column) in sides
            .iter()
            .flat_map(|(s, c)| c.iter().map(move |c| (*s, c)))
        {
            let Some(place) = find_place(places, side, &column.name) else {
                continue;
            };
            let Some(watched) = watch(place, column, &of) else {
                continue;
            };
            self.slices[slice].route(place, number, self.columns.len());
            self.columns.push(PartColumn {
                name: column.name.clone(),
                part: self.parts.len(),
                watched,
            });
        }
        self.parts.push(WatchedPart {
            of,
            baseline_rows: part.rows,
        });
    }

    /// Counts the rows of a request.
    pub(super) fn observe(&mut self, inputs: &[Tensor], outputs: &[Tensor]) {
        for slice in &mut self.slices {
            let rows = &mut slice.rows;
            rows.clear();
            slice.slicer.each_part(inputs, |part| rows.push(part));
            for column in &slice.columns {
                let tensors = match column.place.side {
                    Side::Input => inputs,
                    Side::Output => outputs,
                };
                let Some(tensor) = tensors.get(column.place.tensor) else {
                    continue;
                };
                let mut parts = rows.iter();
                each_value(&column.place, tensor, |value| {
                    let part = parts.next().and_then(|part| column.by_part.get(*part));
                    if let Some(Some(at)) = part {
                        self.columns[*at].watched.take_value(&value);
                    }
                });
            }
        }
    }

    /// Returns what the next process needs.
    pub(super) fn save(&self, now: Instant) -> Vec<SavedColumn> {
        let columns = self.columns.iter();
        columns.map(|column| column.watched.save(now)).collect()
    }

    /// Goes on where an earlier process ended, which may have dropped the parts.
    pub(super) fn restore(&mut self, saved: Vec<SavedColumn>, now: Instant) -> Result<(), String> {
        if saved.is_empty() {
            return Ok(());
        }
        if saved.len() != self.columns.len() {
            return Err("its parts of slices are different".to_owned());
        }
        for (column, earlier) in self.columns.iter_mut().zip(saved) {
            column.watched.restore(earlier, now)?;
        }
        Ok(())
    }

    /// Returns its columns.
    pub(super) fn watched(&mut self) -> impl Iterator<Item = &mut WatchedColumn> {
        self.columns.iter_mut().map(|column| &mut column.watched)
    }
}

impl WatchedSlice {
    /// Sends the values of a column in the rows of a part to the watched column of this number.
    fn route(&mut self, place: &ColumnPlace, part: usize, to: usize) {
        let known = self
            .columns
            .iter()
            .position(|column| column.place == *place);
        let at = known.unwrap_or_else(|| {
            self.columns.push(SlicedColumn {
                place: place.clone(),
                by_part: Vec::new(),
            });
            self.columns.len() - 1
        });
        let by_part = &mut self.columns[at].by_part;
        by_part.resize(by_part.len().max(part + 1), None);
        by_part[part] = Some(to);
    }
}

impl VersionWatch {
    /// Starts to watch the parts of the baseline.
    pub(super) fn begin_parts(&mut self, baseline: &Baseline) {
        let rules = &self.subject.rules;
        self.parts = WatchedParts::new(baseline, &self.places, |place, column, part| {
            if rules.ignores(&column.name) {
                return None;
            }
            let place = ColumnPlace {
                name: part.describe(&column.name),
                ..place.clone()
            };
            let rule = rules.of(&column.name);
            Some(WatchedColumn::new(place, column.clone(), false, rule).of_part())
        });
    }
}
