//! Where a value of a text table is, and how many values are of a kind, with the first of them.

/// The longest word that is kept, in bytes.
const WORD_BYTES_MAX: usize = 60;

/// A value and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstCell {
    /// The index of the file.
    pub file: usize,
    /// The line in the file.
    pub line: u64,
    /// The value; of a long one the beginning.
    pub value: String,
}

/// A row, for messages.
#[derive(Clone, Copy)]
pub(super) struct RowPlace {
    pub file: usize,
    pub line: u64,
    /// The index in the file.
    pub row: u64,
}

/// How many values are of a kind, and the first of them.
#[derive(Clone, Debug, Default)]
pub(super) struct KindCount {
    pub rows: u64,
    pub first: Option<FirstCell>,
}

/// The least and the largest.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueExtent<T> {
    pub least: T,
    pub most: T,
}

impl FirstCell {
    pub(super) fn new(place: RowPlace, field: &[u8]) -> Self {
        Self {
            file: place.file,
            line: place.line,
            value: shown(field),
        }
    }

    pub(super) fn place(&self) -> (usize, u64) {
        (self.file, self.line)
    }
}

impl KindCount {
    pub(super) fn add(&mut self, place: RowPlace, field: &[u8]) {
        if self.first.is_none() {
            self.first = Some(FirstCell::new(place, field));
        }
        self.rows += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        let is_earlier = match (&self.first, &other.first) {
            (Some(own), Some(other)) => other.place() < own.place(),
            (None, _) => true,
            (_, None) => false,
        };
        if is_earlier {
            self.first = other.first;
        }
    }
}

/// Returns the beginning of a value, for a report.
fn shown(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    text[..text.floor_char_boundary(WORD_BYTES_MAX)].to_owned()
}

impl<T: PartialOrd + Copy> ValueExtent<T> {
    pub(super) fn add(&mut self, value: T) {
        if value < self.least {
            self.least = value;
        }
        if value > self.most {
            self.most = value;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        if other.least < self.least {
            self.least = other.least;
        }
        if other.most > self.most {
            self.most = other.most;
        }
    }
}
