//! Makes the distributions of a baseline from rows in their natural order: of every column, of the parts
//! of slices, and of the numeric inputs together. Needs all values at once; the caller bounds them.

#[cfg(test)]
mod tests;

use super::baseline::part::{BaselinePart, MultivariateBaseline, PART_COLUMNS_MAX, PartLoss};
use super::baseline::{Baseline, BaselineColumn};
use super::facts::{ColumnFacts, RowFacts};
use super::kind::ColumnKind;
use super::layout::{ColumnPlace, Side};
use super::profile::depends::find_dependent;
use super::profile::{profile, profile_all, profile_known};
use super::projection::{MULTIVARIATE, ProjectedColumn, Projection};
use super::series::ColumnSeries;
use super::slice::Slicer;
use super::slice::choice::{PART_ROWS_MIN, SliceChoice};
use crate::core::spread::spread;
use std::collections::BTreeMap;

/// A column that is profiled in parts.
#[derive(Clone, Copy)]
struct WantedColumn {
    /// Its place.
    at: usize,
    /// Its kind in all rows.
    kind: ColumnKind,
    /// Whether it moves by itself, not only with a column of the calendar.
    moves: bool,
}

/// The values of rows, by column.
pub(crate) struct ReferenceRows<'r> {
    pub places: &'r [ColumnPlace],
    pub series: &'r [ColumnSeries],
    /// Importance of inputs, as far as it is known.
    pub importances: &'r BTreeMap<String, f64>,
    pub facts: &'r RowFacts,
    /// Whether the model was wrong in each row, where that is known; empty without labels.
    pub lost: &'r [Option<bool>],
    /// The threads that may be used.
    pub threads: usize,
}

impl ReferenceRows<'_> {
    /// Makes a baseline of `rows` rows.
    pub(crate) fn baseline(&self, rows: u64, slices: &SliceChoice) -> Baseline {
        let of = |at: usize| {
            let place = &self.places[at];
            let facts = facts_of(self.facts, place);
            self.weighted(place, profile_known(&place.name, &self.series[at], facts))
        };
        let mut columns = spread(self.places.len(), self.threads, of);
        let together = self.together(&columns);
        let mut all: Vec<&ColumnSeries> = self.series.iter().collect();
        let mut projection = None;
        let distances;
        if let Some((found, series)) = together {
            distances = series;
            columns.push(profile(MULTIVARIATE, &distances));
            all.push(&distances);
            projection = Some(found);
        }

        let before: Vec<ColumnKind> = columns.iter().map(|column| column.kind).collect();
        // Distances that are computed from an hour depend on it, as outputs do.
        let of_hours = projection.as_ref().is_some_and(|projection| {
            let is_cyclic = |of: &ProjectedColumn| {
                let inputs = self.places.iter().zip(&columns);
                let mut named = inputs
                    .filter(|(place, column)| place.side == Side::Input && column.name == of.name);
                named.any(|(_, column)| column.kind == ColumnKind::Cyclic)
            };
            projection.columns.iter().any(is_cyclic)
        });
        let is_output = |at| self.is_output(at) || at == self.places.len() && of_hours;
        find_dependent(&mut columns, &all, is_output);
        let multivariate = projection.and_then(|projection| {
            let distances = columns.pop()?;
            Some(MultivariateBaseline {
                projection,
                distances,
            })
        });
        let wanted = self.wanted(&before, &columns);
        let (inputs, outputs) = self.by_side(columns);
        let parts = self.parts(slices, &inputs, &wanted);
        Baseline {
            parts,
            multivariate,
            ..Baseline::of_columns(rows, inputs, outputs)
        }
    }

    /// Tells whether a column is an output; the inputs together are none.
    fn is_output(&self, at: usize) -> bool {
        self.places
            .get(at)
            .is_some_and(|place| place.side == Side::Output)
    }

    /// Sets the importance of an input.
    fn weighted(&self, place: &ColumnPlace, mut column: BaselineColumn) -> BaselineColumn {
        if place.side == Side::Input {
            column.importance = self.importances.get(&place.name).copied();
        }
        column
    }

    /// Divides columns into inputs and outputs.
    fn by_side(&self, columns: Vec<BaselineColumn>) -> (Vec<BaselineColumn>, Vec<BaselineColumn>) {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for (place, column) in self.places.iter().zip(columns) {
            match place.side {
                Side::Input => inputs.push(column),
                Side::Output => outputs.push(column),
            }
        }
        (inputs, outputs)
    }

    /// Finds how the numeric inputs fit together, and how far each row is from that. Columns whose level
    /// moves are left out: it is no property of a row. So are weekdays, months and the like, which a day of rows shares.
    fn together(&self, columns: &[BaselineColumn]) -> Option<(Projection, ColumnSeries)> {
        let is_named = |place: &ColumnPlace| place.name == MULTIVARIATE;
        if self.places.iter().any(is_named) {
            return None;
        }
        // Without a column of the hour, nothing tells how distances vary with it.
        let is_hour = |(place, column): (&ColumnPlace, &BaselineColumn)| {
            let is_cyclic = column.kind == ColumnKind::Cyclic && column.band.is_empty();
            place.side == Side::Input && is_cyclic && !is_of_days(column)
        };
        let has_hour = self.places.iter().zip(columns).any(is_hour);
        let fits = |at: &usize| {
            let steady = match columns[*at].kind {
                ColumnKind::Stationary => true,
                ColumnKind::Cyclic => has_hour && !is_of_days(&columns[*at]),
                _ => false,
            };
            self.places[*at].side == Side::Input && steady
        };
        let used: Vec<(&str, &ColumnSeries)> = (0..columns.len())
            .filter(fits)
            .map(|at| (columns[at].name.as_str(), &self.series[at]))
            .collect();
        let projection = Projection::fit(&used)?;
        let named = |name: &String| used.iter().find(|(other, _)| other == name);
        let series: Vec<&ColumnSeries> = projection
            .columns
            .iter()
            .filter_map(|column| named(&column.name).map(|(_, series)| *series))
            .collect();
        let distances = projection.distances(&series);
        Some((projection, ColumnSeries::Numbers(distances)))
    }

    /// Profiles the parts of slices that have enough rows.
    fn parts(
        &self,
        slices: &SliceChoice,
        inputs: &[BaselineColumn],
        wanted: &[WantedColumn],
    ) -> Vec<BaselinePart> {
        let mut parts = Vec::new();
        for at in slices.find(inputs) {
            let by = &inputs[at];
            let Some(place) = self.place(Side::Input, &by.name) else {
                continue;
            };
            let mut slicer = Slicer::new(self.places[place].clone(), Some(by));
            let mut rows_of: Vec<Vec<u32>> = Vec::new();
            let mut row = 0;
            self.series[place].each(|value| {
                let part = slicer.part(&value);
                rows_of.resize(rows_of.len().max(part + 1), Vec::new());
                rows_of[part].push(row);
                row += 1;
            });
            let is_other = |wanted: &&WantedColumn| wanted.at != place;
            let mut chosen: Vec<WantedColumn> = wanted.iter().filter(is_other).copied().collect();
            chosen.truncate(PART_COLUMNS_MAX);
            chosen.sort_unstable_by_key(|wanted| wanted.at);
            let enough = |part: &usize| rows_of[*part].len() as u64 >= PART_ROWS_MIN;
            let wide: Vec<usize> = (0..rows_of.len()).filter(enough).collect();
            parts.extend(spread(wide.len(), self.threads, |at| {
                let part = wide[at];
                self.part((&by.name, slicer.name(part)), &chosen, &rows_of[part])
            }));
        }
        parts
    }

    /// Chooses the columns that are profiled in parts, with their kinds: outputs, then the most important
    /// inputs. Only those that are stationary but for the calendar: the few rows of a part do not show how
    /// another column moves, and it would alarm for ever. `before` are the kinds without the calendar.
    fn wanted(&self, before: &[ColumnKind], columns: &[BaselineColumn]) -> Vec<WantedColumn> {
        let can_drift = |at: &usize| {
            !matches!(
                columns[*at].kind,
                ColumnKind::Constant | ColumnKind::Identifier
            )
        };
        let mut wanted: Vec<usize> = (0..self.places.len()).filter(can_drift).collect();
        let rank = |at: usize| {
            let importance = columns[at].importance.unwrap_or(0.0);
            (self.places[at].side == Side::Input, -importance)
        };
        wanted.sort_by(|a, b| {
            let (a, b) = (rank(*a), rank(*b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        let of = |at: usize| WantedColumn {
            at,
            kind: columns[at].kind,
            moves: before[at] != ColumnKind::Stationary,
        };
        wanted.into_iter().map(of).collect()
    }

    fn part(
        &self,
        (slice, part): (&str, &str),
        chosen: &[WantedColumn],
        rows: &[u32],
    ) -> BaselinePart {
        let facts = self.facts.chosen(rows);
        let of = |wanted: &WantedColumn| {
            let place = &self.places[wanted.at];
            (place.name.as_str(), facts_of(&facts, place))
        };
        let named: Vec<(&str, ColumnFacts<'_>)> = chosen.iter().map(of).collect();
        let series: Vec<ColumnSeries> = chosen
            .iter()
            .map(|wanted| self.series[wanted.at].chosen(rows))
            .collect();
        let all: Vec<&ColumnSeries> = series.iter().collect();
        let columns = profile_all(&named, &all, |at| self.is_output(chosen[at].at));
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for (wanted, column) in chosen.iter().zip(columns) {
            let mut column = self.weighted(&self.places[wanted.at], column);
            if wanted.moves || column.kind != wanted.kind {
                // The few rows of a part do not show how the column moves: it would alarm for ever. Without
                // a band only missing values are tested.
                column.band.clear();
                column.kind = match wanted.kind {
                    ColumnKind::Stationary => ColumnKind::Unsteady,
                    kind => kind,
                };
                column.reason = "the rows of the part do not show how it moves".to_owned();
            }
            match self.places[wanted.at].side {
                Side::Input => inputs.push(column),
                Side::Output => outputs.push(column),
            }
        }
        BaselinePart {
            slice: slice.to_owned(),
            part: part.to_owned(),
            rows: rows.len() as u64,
            inputs,
            outputs,
            loss: self.loss(rows),
        }
    }

    /// Counts in how many of some rows the model was wrong; none if no row has a label.
    fn loss(&self, rows: &[u32]) -> Option<PartLoss> {
        let known = rows.iter().filter_map(|row| *self.lost.get(*row as usize)?);
        let mut loss = PartLoss { rows: 0, lost: 0 };
        for lost in known {
            loss.rows += 1;
            loss.lost += u64::from(lost);
        }
        (loss.rows > 0).then_some(loss)
    }

    fn place(&self, side: Side, name: &str) -> Option<usize> {
        self.places
            .iter()
            .position(|place| place.side == side && place.name == name)
    }
}

/// Returns what is known of the rows of a column.
fn facts_of<'f>(facts: &'f RowFacts, place: &ColumnPlace) -> ColumnFacts<'f> {
    match place.side {
        Side::Input => facts.of_input(&place.name),
        Side::Output => facts.of_output(),
    }
}

/// Tells whether it is a column of the calendar, which has no band, that keeps its value for a day or longer.
fn is_of_days(column: &BaselineColumn) -> bool {
    column.band.is_empty() && column.held_max_s.is_some_and(|held| held > 2 * 86_400)
}
