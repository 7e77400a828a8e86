//! The second pass over a text table: its rows as typed columns, batch by batch, by what the first pass
//! decided. A value that does not fit was not there in the first pass.

use super::decide::{ColumnDecision, TextType};
use super::format::TextRules;
use super::records::{RecordBlock, RecordReader};
use super::scan::{ScannedText, not_utf8};
use super::{TextFault, cell, number, times};
use crate::core::error::{Error, Result, short};
use std::sync::Arc;

/// The values of a column in a batch. A missing value has a placeholder: 0, false, or an empty word.
#[derive(Clone, Debug, PartialEq)]
pub enum TextValues {
    /// All rows lack a value.
    Missing,
    /// Booleans.
    Bool(Vec<bool>),
    /// Whole numbers.
    Whole(Vec<i64>),
    /// Whole numbers, of which some are beyond `i64`.
    Unsigned(Vec<u64>),
    /// Numbers in double precision.
    Number(Vec<f64>),
    /// Microseconds since 1970, UTC.
    Time(Vec<i64>),
    /// Text.
    Words(WordValues),
}

/// Words, one after another in one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordValues {
    /// All words.
    pub text: String,
    /// Where each word ends.
    pub ends: Vec<usize>,
}

/// A column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct TextBatchColumn {
    /// One value for each row.
    pub values: TextValues,
    /// Whether each row has a value.
    pub present: Vec<bool>,
}

/// Some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct TextBatch {
    /// The columns that were asked for, in that order.
    pub columns: Vec<TextBatchColumn>,
    /// The number of rows.
    pub rows: usize,
}

/// Reads the rows of a scanned table as batches.
pub struct TextReader {
    table: Arc<ScannedText>,
    /// The columns that are read, by their places in the table.
    chosen: Vec<usize>,
    rows_max: usize,
    /// The file that is read, and its rows so far.
    file: usize,
    rows: u64,
    open: Option<RecordReader>,
    block: Option<(RecordBlock, usize)>,
}

impl WordValues {
    /// Returns the words.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let spans = starts.zip(&self.ends);
        spans.map(|(start, end)| &self.text[*start..*end])
    }
}

impl TextReader {
    /// Reads some columns, by their places in the table; at most `rows_max` rows at once.
    pub fn new(table: Arc<ScannedText>, chosen: Vec<usize>, rows_max: usize) -> Self {
        Self {
            table,
            chosen,
            rows_max: rows_max.max(1),
            file: 0,
            rows: 0,
            open: None,
            block: None,
        }
    }

    /// Reads the next rows; none at the end. Refuses a file that changed since it was scanned.
    pub fn next_batch(&mut self) -> Result<Option<TextBatch>> {
        loop {
            if let Some((block, from)) = self.block.take() {
                let rows = (block.rows() - from).min(self.rows_max);
                let batch = self.batch(&block, from, rows)?;
                if from + rows < block.rows() {
                    self.block = Some((block, from + rows));
                }
                return Ok(Some(batch));
            }
            if !self.advance()? {
                return Ok(None);
            }
        }
    }

    /// Reads the next block that has rows; false at the end.
    fn advance(&mut self) -> Result<bool> {
        let table = self.table.clone();
        while let Some(file) = table.files.get(self.file) {
            let named = |e: Error| e.context(file.source.name());
            let fault = |fault: TextFault| match fault {
                TextFault::Refused(error) => named(error),
                TextFault::NotUtf8 => named(not_utf8()),
            };
            let mut reader = match self.open.take() {
                Some(reader) => reader,
                None => {
                    let mut rules = table.rules.clone();
                    rules.delimiter = Some(file.dialect.delimiter);
                    let encoding = Some(file.dialect.encoding);
                    RecordReader::open(&file.source, &rules, encoding).map_err(fault)?
                }
            };
            let block = reader.next_block().map_err(fault)?;
            let is_narrow = file.fields.iter().any(|at| *at >= reader.header.len());
            match block {
                Some(block) if !is_narrow => {
                    self.open = Some(reader);
                    self.rows += block.rows() as u64;
                    if block.rows() > 0 {
                        self.block = Some((block, 0));
                        return Ok(true);
                    }
                }
                None if self.rows == file.rows => {
                    self.file += 1;
                    self.rows = 0;
                }
                _ => return Err(named(changed())),
            }
        }
        Ok(false)
    }

    fn batch(&self, block: &RecordBlock, from: usize, rows: usize) -> Result<TextBatch> {
        let table = &self.table;
        let file = &table.files[self.file];
        let mut columns = Vec::with_capacity(self.chosen.len());
        for at in &self.chosen {
            let fields = BlockColumn {
                block,
                field: file.fields[*at],
                from,
                rows,
                rules: &table.rules,
            };
            let column = fields.read(table.decisions[*at]).map_err(|e| {
                e.context(format_args!("column '{}'", short(&table.columns[*at].name)))
                    .context(file.source.name())
            })?;
            columns.push(column);
        }
        Ok(TextBatch { columns, rows })
    }
}

fn changed() -> Error {
    Error::unavailable("changed while it was read; run again once it is complete")
}

/// The fields of a column in a block.
struct BlockColumn<'b> {
    block: &'b RecordBlock,
    field: usize,
    from: usize,
    rows: usize,
    rules: &'b TextRules,
}

impl BlockColumn<'_> {
    fn read(&self, decision: ColumnDecision) -> Result<TextBatchColumn> {
        let format = decision.format;
        let mut present = Vec::with_capacity(self.rows);
        let marks = &mut present;
        let values = match decision.kind {
            TextType::Missing => {
                self.values(marks, |_| None::<bool>)?;
                TextValues::Missing
            }
            TextType::Bool => TextValues::Bool(self.values(marks, cell::boolean)?),
            TextType::Whole => TextValues::Whole(self.values(marks, |f| whole(f, format))?),
            TextType::Unsigned => {
                TextValues::Unsigned(self.values(marks, |f| unsigned(f, format))?)
            }
            TextType::Number => {
                let read = |f: &[u8]| number::number(f, format).map(|found| found.number());
                TextValues::Number(self.values(marks, read)?)
            }
            TextType::Time { .. } => {
                let zone = self.rules.zone;
                let read = |f: &[u8]| times::time(f).map(|found| found.micros(format, zone));
                TextValues::Time(self.values(marks, read)?)
            }
            TextType::Words => TextValues::Words(self.words(marks)?),
        };
        Ok(TextBatchColumn { values, present })
    }

    fn fields(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let rows = self.from..self.from + self.rows;
        rows.map(|row| (row, self.block.field(row, self.field)))
    }

    /// Reads values; a value that is neither readable nor missing is refused.
    fn values<T: Default>(
        &self,
        present: &mut Vec<bool>,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut values = Vec::with_capacity(self.rows);
        for (row, field) in self.fields() {
            let is_token = self.rules.missing_first && cell::is_missing(field, self.rules);
            let value = if field.is_empty() || is_token {
                None
            } else {
                match read(field) {
                    None if !cell::is_missing(field, self.rules) => {
                        return Err(changed().context(format_args!(
                            "line {}: '{}'",
                            self.block.line(row),
                            short(&String::from_utf8_lossy(field))
                        )));
                    }
                    value => value,
                }
            };
            present.push(value.is_some());
            values.push(value.unwrap_or_default());
        }
        Ok(values)
    }

    fn words(&self, present: &mut Vec<bool>) -> Result<WordValues> {
        let mut text = Vec::new();
        let mut ends = Vec::with_capacity(self.rows);
        for (_, field) in self.fields() {
            let is_present = !cell::is_missing(field, self.rules);
            if is_present {
                text.extend_from_slice(field);
            }
            present.push(is_present);
            ends.push(text.len());
        }
        let text = String::from_utf8(text).map_err(|_| not_utf8())?;
        Ok(WordValues { text, ends })
    }
}

fn whole(field: &[u8], format: u8) -> Option<i64> {
    match number::number(field, format)? {
        number::NumberValue::Whole {
            negative: true,
            size,
        } => 0_i64.checked_sub_unsigned(size),
        number::NumberValue::Whole { size, .. } => i64::try_from(size).ok(),
        _ => None,
    }
}

fn unsigned(field: &[u8], format: u8) -> Option<u64> {
    match number::number(field, format)? {
        number::NumberValue::Whole { negative, size } => (!negative || size == 0).then_some(size),
        _ => None,
    }
}
