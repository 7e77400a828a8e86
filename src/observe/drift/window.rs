//! Counts of one interval, column by column. They are added row by row, then window by window.
//! Owns no clock.

#[cfg(test)]
mod tests;

use super::baseline::Cells;
use super::layout::ColumnValue;

/// The counts of one column, by cell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnTally {
    pub counts: Vec<u32>,
    /// Rows without a value.
    pub missing: u32,
    /// The least and the greatest finite number.
    pub ends: (f64, f64),
}

impl ColumnTally {
    /// Starts at zero.
    pub(crate) fn new(cells: usize) -> Self {
        Self {
            counts: vec![0; cells],
            missing: 0,
            ends: (f64::INFINITY, f64::NEG_INFINITY),
        }
    }

    /// Counts a value.
    pub(crate) fn take(&mut self, cells: &Cells, value: &ColumnValue<'_>) {
        match find(cells, value) {
            None => self.missing += 1,
            Some(cell) => {
                self.counts[cell] += 1;
                if let ColumnValue::Number(v) = value
                    && v.is_finite()
                {
                    self.ends = (self.ends.0.min(*v), self.ends.1.max(*v));
                }
                if let (ColumnValue::Whole(v), Cells::Numbers(_)) = (value, cells) {
                    self.ends = (self.ends.0.min(*v as f64), self.ends.1.max(*v as f64));
                }
            }
        }
    }

    /// Adds the counts of another interval.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(a, b)| *a = a.saturating_add(*b));
        self.missing = self.missing.saturating_add(other.missing);

        self.ends = (self.ends.0.min(other.ends.0), self.ends.1.max(other.ends.1));
    }

    /// Halves all counts.
    pub(crate) fn halve(&mut self) {
        self.counts.iter_mut().for_each(|n| *n /= 2);
        self.missing /= 2;
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
        (self.missing, self.ends) = (0, (f64::INFINITY, f64::NEG_INFINITY));
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
