//! The values that a column may have: a range of numbers or a set of codes, from its baseline. Pure.

use crate::core::tensor::DType;
use crate::observe::drift::baseline::{BaselineColumn, NumberBaseline, ValueDistribution};
use crate::observe::drift::kind::ColumnKind;
use std::sync::Arc;

/// Widest span of codes that are looked up in a table.
const TABLE_MAX: i64 = 4_096;
/// How far a code may be off and still be the same, relative to its size.
const SAME: f64 = 1e-6;
/// How far a column that moves within its baseline may leave its range at least, in spans of the
/// baseline, and how far with one independent row.
const MOVES: f64 = 0.5;
const MOVES_OF_ONE: f64 = 4.0;
/// The same for a column that grows or falls.
const GROWS: f64 = 10.0;
/// Independent rows that show the range of a steady column well enough: a row in so many lies beyond it on a side.
const RANGE_ROWS: f64 = 2_000.0;
/// The outermost rows are one in so many.
const OUTERMOST: u64 = 16;

/// Whether ranges are wider than the baseline's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Widened {
    No,
    /// By half the span: the baseline is of the first rows that a server saw.
    Own,
}

/// The values that a column may have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ValueLimits {
    /// The least and the greatest number.
    pub range: Option<(f64, f64)>,
    pub codes: Option<Arc<Codes>>,
}

/// Returns the limits of a column.
pub(super) fn limits(column: &BaselineColumn, dtype: DType, widened: Widened) -> ValueLimits {
    match &column.values {
        ValueDistribution::Numbers(numbers) => ValueLimits {
            range: range(column, numbers, dtype, widened),
            codes: Codes::new(&numbers.codes)
                .filter(Codes::has_gaps)
                .map(Arc::new),
        },
        ValueDistribution::Words(listed) if dtype != DType::String => {
            let words = listed.words.iter().map(|(word, _)| word);
            let codes: Option<Vec<i64>> = words
                .chain(&listed.others)
                .map(|word| word.parse().ok())
                .collect();
            ValueLimits {
                range: None,
                codes: codes.and_then(|codes| Codes::new(&codes)).map(Arc::new),
            }
        }
        ValueDistribution::Words(_) => ValueLimits::default(),
    }
}

/// Returns the range of a column of numbers; none for an identifier.
fn range(
    column: &BaselineColumn,
    numbers: &NumberBaseline,
    dtype: DType,
    widened: Widened,
) -> Option<(f64, f64)> {
    // The first edge lies just below the least number.
    let (first, last) = (*numbers.edges.first()?, *numbers.edges.last()?);
    let single = matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
    let near = first as f32;
    let least = match single {
        // The first number of single precision above the edge.
        true if f64::from(near) <= first => near.next_up().into(),
        true => near.into(),
        false => first.next_up(),
    };

    // Few whole numbers are categories, which do not grow.
    let is_coded = !numbers.codes.is_empty();
    // The fewer independent rows there are, the less of the range they have seen.
    let effective = numbers.counts.iter().sum::<u64>() as f64 / column.design_effect;
    let moves = (MOVES_OF_ONE / effective.max(1.0).sqrt()).max(MOVES);
    let spans = match column.kind {
        ColumnKind::Identifier => return None,
        ColumnKind::Trending if !is_coded => GROWS,
        ColumnKind::Unsteady if !is_coded => moves,
        _ if widened == Widened::Own && !is_coded => moves,
        _ => 0.0,
    };
    let more = spans * (last - first);
    let tails = if spans == 0.0 && !is_coded {
        tails(numbers, effective)
    } else {
        (0.0, 0.0)
    };
    let (low, high) = (least - more - tails.0, last + more + tails.1);
    let (learned_low, learned_high) = numbers.learned.unwrap_or((low, high));
    Some((low.min(learned_low), high.max(learned_high)))
}

/// Returns how far values may lie below and above those of a few independent rows: to where one of `RANGE_ROWS` would,
/// if the tails fall exponentially, as fast as in the outermost rows. A column without negative
/// numbers gets no range below 0, and one without positive numbers none above.
fn tails(numbers: &NumberBaseline, effective: f64) -> (f64, f64) {
    let seen_less = (RANGE_ROWS / effective.max(1.0)).ln();
    if seen_less <= 0.0 {
        return (0.0, 0.0);
    }
    let cells: Vec<(f64, u64)> = numbers
        .edges
        .windows(2)
        .zip(numbers.counts.iter().skip(1))
        .map(|(edges, count)| (edges[1] - edges[0], *count))
        .collect();
    let all: u64 = cells.iter().map(|(_, count)| count).sum();
    let beyond = |cells: &mut dyn Iterator<Item = &(f64, u64)>| {
        let (mut width, mut rows) = (0.0, 0);
        for (more, count) in cells {
            (width, rows) = (width + more, rows + count);
            if rows * OUTERMOST >= all {
                break;
            }
        }
        let independent = rows as f64 * effective / all.max(1) as f64;
        width / independent.max(2.0).ln() * seen_less
    };
    let below = beyond(&mut cells.iter());
    let above = beyond(&mut cells.iter().rev());

    // The first edge lies just below the least number, which may be 0.
    let (first, last) = (numbers.edges[0], numbers.edges[numbers.edges.len() - 1]);
    let near = SAME * (last - first);
    let room_to_zero = |end: f64| {
        if end >= -near {
            end.max(0.0)
        } else {
            f64::INFINITY
        }
    };
    (
        below.min(room_to_zero(first)),
        above.min(room_to_zero(-last)),
    )
}

/// A set of whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Codes {
    sorted: Vec<i64>,
    /// Which numbers from the least one on are in the set, where the span is short.
    table: Vec<bool>,
}

impl Codes {
    /// Makes a set; none of no numbers.
    pub(super) fn new(codes: &[i64]) -> Option<Self> {
        let mut sorted = codes.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let (least, greatest) = (*sorted.first()?, *sorted.last()?);
        let span = greatest.checked_sub(least).filter(|span| *span < TABLE_MAX);
        let table = span.map_or_else(Vec::new, |span| {
            let mut table = vec![false; usize::try_from(span).unwrap_or(0) + 1];
            for code in &sorted {
                table[usize::try_from(code - least).unwrap_or(0)] = true;
            }
            table
        });
        Some(Self { sorted, table })
    }

    /// Tells whether whole numbers between the least and the greatest code are none. Without such
    /// gaps the range is enough.
    fn has_gaps(&self) -> bool {
        self.table.is_empty() || self.table.iter().any(|is_code| !is_code)
    }

    /// Tells whether a finite number is a code.
    pub(super) fn has(&self, value: f64) -> bool {
        let near = value.round();
        if (value - near).abs() > SAME * near.abs().max(1.0) {
            return false;
        }
        let code = near as i64;
        if self.table.is_empty() {
            return self.sorted.binary_search(&code).is_ok();
        }
        let at = code
            .checked_sub(self.sorted[0])
            .and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.table.get(at))
            .copied()
            .unwrap_or(false)
    }
}
