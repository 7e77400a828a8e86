//! What kind of column a baseline shows, by its values in their natural order: stationary, cyclic,
//! trending, unsteady, constant or an identifier. The kind decides which tests a column gets. Pure.

pub(crate) mod band;
mod calendar;
mod held;
pub(crate) mod order;
#[cfg(test)]
mod tests;
mod timed;

use super::facts::ColumnFacts;
use super::series::ColumnSeries;
use crate::core::count::{agreed, counted};
use band::Groups;
use calendar::calendar_of;
use order::{Order, circular_step, rank_scores};
use serde::{Deserialize, Serialize};

/// Fewest values by which a kind other than `stationary` is found.
pub(crate) const VALUES_MIN: usize = 100;
/// Fewest independent rows of a stationary column. A column with fewer is unsteady: its level moves
/// so slowly that windows cannot be compared with the whole baseline.
pub(crate) const EFFECTIVE_MIN: f64 = 250.0;
/// Design effect from which a column may be unsteady.
pub(crate) const SLOW: f64 = 8.0;
/// Spread of the level of large blocks, in standard deviations, from which a column is unsteady. Live rows
/// may come many times faster than those of the baseline: then thousands of them show one level, and a
/// test against the whole would take that for a change, however many rows it counts as one.
const LEVEL_SPREAD_MAX: f64 = 0.1;
/// Share of different values from which words are identifiers.
const IDENTIFIER_SHARE: f64 = 0.5;

/// The kind of a column.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Its distribution is the same throughout the baseline.
    #[default]
    Stationary,
    /// It repeats with a period, such as an hour or a weekday.
    Cyclic,
    /// It grows or falls throughout the baseline, such as a time or a counter.
    Trending,
    /// Its level moves within the baseline, without a period or a trend.
    Unsteady,
    /// It has one value.
    Constant,
    /// Almost every row has a value of its own.
    Identifier,
}

impl ColumnKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Stationary,
        Self::Cyclic,
        Self::Trending,
        Self::Unsteady,
        Self::Constant,
        Self::Identifier,
    ];

    /// Returns its name in configuration and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stationary => "stationary",
            Self::Cyclic => "cyclic",
            Self::Trending => "trending",
            Self::Unsteady => "unsteady",
            Self::Constant => "constant",
            Self::Identifier => "identifier",
        }
    }
}

/// The kind of a column, why, and what follows from its order for tests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FoundKind {
    pub kind: ColumnKind,
    pub reason: String,
    /// Rows that carry as much information as one independent row.
    pub design_effect: f64,
    /// The rows of each part of the baseline with which a window of an unsteady or cyclic column
    /// is compared; empty for other kinds.
    pub groups: Groups,
    /// Seconds for which a column that moves may have one value.
    pub held_max_s: Option<u64>,
}

impl FoundKind {
    fn plain(kind: ColumnKind, reason: String) -> Self {
        Self {
            kind,
            reason,
            design_effect: 1.0,
            groups: Groups::default(),
            held_max_s: None,
        }
    }
}

/// Finds the kind of a column. `name` may tell a calendar column or a time.
pub(crate) fn find_kind(name: &str, series: &ColumnSeries, facts: ColumnFacts<'_>) -> FoundKind {
    let scores = rank_scores(series);
    let values = scores.present.len();
    if values < VALUES_MIN {
        return FoundKind::plain(
            ColumnKind::Stationary,
            format!(
                "{} {} too few to tell another kind",
                counted(values, "value"),
                agreed(values, "is", "are")
            ),
        );
    }

    let by_name = calendar_of(name, series, facts.learned);
    let by_name = by_name.map(|(reason, length)| (reason, Some(length)));
    if let Some((reason, length)) = by_name.or_else(|| timed::follows(series, facts.times)) {
        // A window may hold one hour or one day alone: no part of the baseline is like it.
        let held = length.map(held::of_calendar);
        return FoundKind {
            held_max_s: held.or_else(|| held::by_values(ColumnKind::Cyclic, &scores)),
            ..FoundKind::plain(ColumnKind::Cyclic, reason)
        };
    }
    if scores.distinct == 1 {
        return FoundKind::plain(
            ColumnKind::Constant,
            "the baseline has one value".to_owned(),
        );
    }
    let found = by_values(name, series, scores.distinct);
    let found = found.unwrap_or_else(|| by_order(&scores.present));
    FoundKind {
        held_max_s: held::by_values(found.kind, &scores),
        ..found
    }
}

/// Returns the seconds for which a column of another kind than its order shows may have one value.
pub(crate) fn held_max_s(kind: ColumnKind, series: &ColumnSeries) -> Option<u64> {
    held::by_values(kind, &rank_scores(series))
}

/// Finds the kinds that the values tell, whatever their order.
fn by_values(name: &str, series: &ColumnSeries, distinct: usize) -> Option<FoundKind> {
    match series {
        ColumnSeries::Words(words) => {
            let share = distinct as f64 / words.len() as f64;
            (share > IDENTIFIER_SHARE).then(|| {
                let reason = format!("{distinct} of {} values are different", words.len());
                FoundKind::plain(ColumnKind::Identifier, reason)
            })
        }
        ColumnSeries::Numbers(values) => {
            let found: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
            by_numbers(name, &found, distinct)
        }
        ColumnSeries::Whole(values) => {
            let found: Vec<f64> = values.iter().map(|v| *v as f64).collect();
            by_numbers(name, &found, distinct)
        }
    }
}

/// Times since 1970 by their name and range, and numbers that never repeat.
fn by_numbers(name: &str, values: &[f64], distinct: usize) -> Option<FoundKind> {
    let (least, greatest) = ends(values)?;
    if calendar::is_time(name, (least, greatest)) {
        return Some(FoundKind::plain(
            ColumnKind::Trending,
            "its name and range are those of a time since 1970".to_owned(),
        ));
    }

    // Random whole numbers of such a range would repeat.
    let is_whole = values.iter().all(|v| v.fract() == 0.0);
    let rows = values.len() as f64;
    let is_unique = is_whole && distinct == values.len() && greatest - least <= rows * rows / 20.0;
    let is_named = calendar::is_identifier(name) && is_whole && distinct as f64 > 0.9 * rows;
    let rises = order::trend(values).abs() > order::TREND_MIN;
    ((is_unique || is_named) && !rises).then(|| {
        let reason = format!("{distinct} of {} values are different", values.len());
        FoundKind::plain(ColumnKind::Identifier, reason)
    })
}

/// Finds the kinds that the order of the values tells.
fn by_order(scores: &[f32]) -> FoundKind {
    let (order, rows) = (Order::of(scores), scores.len());
    if order.trend.abs() > order::TREND_MIN {
        let way = if order.trend > 0.0 { "grows" } else { "falls" };
        return FoundKind::plain(
            ColumnKind::Trending,
            format!(
                "it {way} throughout the baseline: rank correlation with the order of rows {:.2}",
                order.trend
            ),
        );
    }

    if let Some(period) = order.period {
        return FoundKind {
            groups: Groups::by_level(scores, period / 8),
            ..FoundKind::plain(
                ColumnKind::Cyclic,
                format!("it repeats about every {period} rows of the baseline"),
            )
        };
    }

    let effective = rows as f64 / order.design_effect;
    let worth = counted(effective.round() as u64, "independent row");
    let is_slow = order.grows && order.design_effect >= SLOW;
    if is_slow && (effective < EFFECTIVE_MIN || order.level_spread > LEVEL_SPREAD_MAX) {
        return FoundKind {
            design_effect: order.design_effect,
            groups: Groups::by_level(scores, order.smallest_block()),
            ..FoundKind::plain(
                ColumnKind::Unsteady,
                format!("its level moves within the baseline: {rows} rows tell as much as {worth}"),
            )
        };
    }

    let reason = if order.design_effect > 1.0 {
        format!(
            "its level is the same throughout the baseline; neighbouring rows are alike, so that {rows} rows tell as much as {worth}"
        )
    } else {
        "its distribution is the same throughout the baseline".to_owned()
    };
    FoundKind {
        design_effect: order.design_effect,
        ..FoundKind::plain(ColumnKind::Stationary, reason)
    }
}

/// Returns the least and the greatest value.
fn ends(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().reduce(f64::min)?;
    let greatest = values.iter().copied().reduce(f64::max)?;
    Some((least, greatest))
}

/// Tells whether the values step around a circle of `length` in their order.
fn steps_around(values: &[f64], length: f64) -> bool {
    circular_step(values, length) > 0.3
}
