//! Counts of one interval, column by column. They are added row by row, then window by window.
//! Owns no clock.

#[cfg(test)]
mod tests;

use super::baseline::Cells;
use super::layout::ColumnValue;
use serde::{Deserialize, Serialize};

/// The counts of one column, by cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColumnTally {
    pub counts: Vec<u32>,
    /// Rows without a value.
    pub missing: u32,
    /// The sum of the finite numbers in each cell; empty for categories.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "or_null")]
    pub sums: Vec<f64>,
    /// The least and the greatest finite number.
    #[serde(default = "no_ends", with = "ends_or_null")]
    pub ends: (f64, f64),
}

fn no_ends() -> (f64, f64) {
    (f64::INFINITY, f64::NEG_INFINITY)
}

/// Sums that are not finite, which JSON cannot write, are unknown.
mod or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(sums: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        sums.serialize(serializer)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Vec<f64>, D::Error> {
        let read = Vec::<Option<f64>>::deserialize(deserializer)?;
        Ok(read.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
    }
}

/// No ends without a number.
mod ends_or_null {
    use super::no_ends;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        ends: &(f64, f64),
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        (ends.0 <= ends.1).then_some(ends).serialize(serializer)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<(f64, f64), D::Error> {
        Option::deserialize(deserializer).map(|ends| ends.unwrap_or_else(no_ends))
    }
}

impl ColumnTally {
    /// Starts at zero.
    pub(crate) fn new(cells: &Cells) -> Self {
        let sums = match cells {
            Cells::Numbers(edges) => edges.cells(),
            Cells::Words(_) => 0,
        };
        Self {
            counts: vec![0; cells.len()],
            missing: 0,
            sums: vec![0.0; sums],
            ends: no_ends(),
        }
    }

    /// Tells whether it is counted in such cells.
    pub(crate) fn fits(&self, cells: &Cells) -> bool {
        let empty = Self::new(cells);
        self.counts.len() == empty.counts.len() && self.sums.len() == empty.sums.len()
    }

    /// Counts a value. Returns its cell; none if it is missing.
    pub(crate) fn take(&mut self, cells: &Cells, value: &ColumnValue<'_>) -> Option<usize> {
        let Some(cell) = find(cells, value) else {
            self.missing += 1;
            return None;
        };
        self.counts[cell] += 1;
        let number = value.number();
        if number.is_finite()
            && let Some(sum) = self.sums.get_mut(cell)
        {
            *sum += number;
            self.ends = (self.ends.0.min(number), self.ends.1.max(number));
        }
        Some(cell)
    }

    /// Adds the counts of another interval.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(a, b)| *a = a.saturating_add(*b));
        self.missing = self.missing.saturating_add(other.missing);
        self.sums
            .iter_mut()
            .zip(&other.sums)
            .for_each(|(a, b)| *a += b);
        self.ends = (self.ends.0.min(other.ends.0), self.ends.1.max(other.ends.1));
    }

    /// Halves all counts.
    pub(crate) fn halve(&mut self) {
        self.counts.iter_mut().for_each(|n| *n /= 2);
        self.missing /= 2;
        self.sums.iter_mut().for_each(|sum| *sum /= 2.0);
    }

    /// Returns the mean of the finite numbers of each cell; 0 for an empty cell.
    pub(crate) fn means(&self) -> Vec<f64> {
        let mean = |(sum, rows): (&f64, &u32)| sum / f64::from((*rows).max(1));
        self.sums.iter().zip(&self.counts).map(mean).collect()
    }

    /// Returns the rows with a value.
    pub(crate) fn present(&self) -> u64 {
        self.counts.iter().map(|n| u64::from(*n)).sum()
    }

    /// Returns all rows.
    pub(crate) fn rows(&self) -> u64 {
        self.present() + u64::from(self.missing)
    }

    /// Resets to zero.
    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.sums.fill(0.0);
        (self.missing, self.ends) = (0, no_ends());
    }
}

/// Returns the cell of a value; none if the value is missing.
pub(crate) fn find(cells: &Cells, value: &ColumnValue<'_>) -> Option<usize> {
    match (cells, value) {
        (Cells::Numbers(edges), ColumnValue::Number(v)) => (!v.is_nan()).then(|| edges.cell(*v)),
        (Cells::Numbers(edges), ColumnValue::Whole(v)) => Some(edges.cell(*v as f64)),
        (Cells::Numbers(_), ColumnValue::Word(_)) => None,
        (Cells::Words(_), ColumnValue::Word("")) => None,
        (Cells::Words(words), ColumnValue::Word(word)) => Some(words.cell(word)),
        (Cells::Words(words), ColumnValue::Whole(v)) => {
            let mut text = [0; 20];
            Some(words.cell(digits(*v, &mut text)))
        }
        (Cells::Words(words), ColumnValue::Number(v)) => Some(words.cell(&v.to_string())),
    }
}

/// Writes an integer as text without an allocation.
fn digits(value: i64, text: &mut [u8; 20]) -> &str {
    let (mut left, mut at) = (value.unsigned_abs(), text.len());
    loop {
        at -= 1;
        text[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }

    if value < 0 {
        at -= 1;
        text[at] = b'-';
    }
    std::str::from_utf8(&text[at..]).expect("digits are ASCII")
}
