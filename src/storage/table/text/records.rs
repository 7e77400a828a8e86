//! The rows of a text table in blocks of equal width: the header is taken off, blank lines and repeated
//! headers are left out, rows of another width are refused, skipped or filled. Knows no types.

use super::decode::DecodedText;
use super::dialect;
use super::format::{RaggedRule, TextRules};
use super::header::{HeaderName, names};
use super::split::{FieldSpan, RECORD_BYTES_MAX, RecordSplitter, SplitStep};
use super::unpack::Packing;
use super::{TextFault, TextSource};
use crate::core::error::{Error, short};
use encoding_rs::Encoding;

/// The text of a block, unless one record is longer.
const BLOCK_BYTES: usize = 1 << 20;
/// The text in which the separator is looked for.
const SAMPLE_BYTES: usize = 1 << 18;

/// Some rows.
#[derive(Debug)]
pub(super) struct RecordBlock {
    text: Vec<u8>,
    fields: Vec<FieldSpan>,
    /// The line of each row.
    lines: Vec<u64>,
    pub width: usize,
    /// The number of rows before it in the file.
    pub first_row: u64,
}

impl RecordBlock {
    pub(super) fn rows(&self) -> usize {
        self.lines.len()
    }

    /// Returns the line on which a row begins, counted from 1.
    pub(super) fn line(&self, row: usize) -> u64 {
        self.lines[row]
    }

    /// Returns a field without blanks around it.
    pub(super) fn field(&self, row: usize, column: usize) -> &[u8] {
        self.fields[row * self.width + column].of(&self.text)
    }
}

/// How a file was found to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundDialect {
    pub delimiter: u8,
    pub encoding: &'static Encoding,
    pub packing: Packing,
}

/// Rows that were left out or changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OddRows {
    /// Repeated headers.
    pub headers: u64,
    /// Rows of another width that were skipped.
    pub skipped: u64,
    /// Short rows that were filled.
    pub filled: u64,
}

/// Reads the rows of a file.
pub(super) struct RecordReader {
    text: DecodedText,
    splitter: RecordSplitter,
    ragged: RaggedRule,
    pub dialect: FoundDialect,
    pub header: Vec<HeaderName>,
    /// The fields of the header, to recognize it again.
    header_fields: Vec<Vec<u8>>,
    /// Text that is not split yet.
    rest: Vec<u8>,
    ended: bool,
    rows: u64,
    pub odd: OddRows,
}

impl RecordReader {
    /// Opens a file and reads its header. `encoding` overrides what its bytes say.
    pub(super) fn open(
        source: &TextSource,
        rules: &TextRules,
        encoding: Option<&'static Encoding>,
    ) -> Result<Self, TextFault> {
        let mut text = DecodedText::open(source, rules, encoding)?;
        let mut rest = Vec::new();
        let mut ended = false;
        while !ended && rest.len() < SAMPLE_BYTES {
            ended = !text.read(&mut rest)?;
        }

        let declared = dialect::declared(&rest);
        if let Some((length, _)) = declared {
            rest.drain(..length);
        }
        let sample = &rest[..rest.len().min(SAMPLE_BYTES)];
        let is_whole = ended && sample.len() == rest.len();
        let delimiter = rules
            .delimiter
            .or(declared.map(|(_, delimiter)| delimiter))
            .unwrap_or_else(|| dialect::delimiter(sample, rules.quote, is_whole));
        let mut splitter = RecordSplitter::new(delimiter, rules.quote);
        splitter.line += u64::from(declared.is_some());

        let mut reader = Self {
            dialect: FoundDialect {
                delimiter,
                encoding: text.encoding,
                packing: text.packing,
            },
            text,
            splitter,
            ragged: rules.ragged,
            header: Vec::new(),
            header_fields: Vec::new(),
            rest,
            ended,
            rows: 0,
            odd: OddRows::default(),
        };
        reader.read_header()?;
        Ok(reader)
    }

    fn read_header(&mut self) -> Result<(), TextFault> {
        let mut fields = Vec::new();
        let mut at = 0;
        loop {
            let step = self
                .splitter
                .step(&mut self.rest, at, self.ended, &mut fields)?;
            match step {
                SplitStep::Blank(next) => at = next,
                SplitStep::More => self.refill()?,
                SplitStep::End => {
                    return Err(TextFault::Refused(Error::invalid(
                        "is empty; it must begin with a line of column names",
                    )));
                }
                SplitStep::Record(next) => {
                    let raw = |span: &FieldSpan| {
                        let field = &self.rest[span.start as usize..span.end as usize];
                        String::from_utf8_lossy(field).into_owned()
                    };
                    let raw: Vec<String> = fields.iter().map(raw).collect();
                    self.header = names(&raw)?;
                    self.header_fields = fields.iter().map(|f| f.of(&self.rest).to_vec()).collect();
                    self.rest.drain(..next);
                    return Ok(());
                }
            }
        }
    }

    /// Reads more text, at least as much as there is, so that a long record is not split often.
    fn refill(&mut self) -> Result<(), TextFault> {
        if self.rest.len() > RECORD_BYTES_MAX {
            return Err(TextFault::Refused(Error::too_large(format!(
                "line {}: the row is longer than {RECORD_BYTES_MAX} bytes; set 'delimiter' or 'quote' if they were not found rightly",
                self.splitter.line
            ))));
        }
        let wanted = self.rest.len() * 2;
        while !self.ended {
            self.ended = !self.text.read(&mut self.rest)?;
            if self.rest.len() >= wanted {
                break;
            }
        }
        Ok(())
    }

    /// Reads the next rows; none at the end.
    pub(super) fn next_block(&mut self) -> Result<Option<RecordBlock>, TextFault> {
        while !self.ended && self.rest.len() < BLOCK_BYTES {
            self.ended = !self.text.read(&mut self.rest)?;
        }
        let width = self.header.len();
        let mut block = RecordBlock {
            text: Vec::new(),
            fields: Vec::with_capacity(self.rest.len() / 6),
            lines: Vec::new(),
            width,
            first_row: self.rows,
        };

        let mut at = 0;
        loop {
            let line = self.splitter.line;
            let before = block.fields.len();
            let step = self
                .splitter
                .step(&mut self.rest, at, self.ended, &mut block.fields)?;
            match step {
                SplitStep::Blank(next) => at = next,
                SplitStep::Record(next) => {
                    if self.keeps(&mut block.fields, before, line)? {
                        block.lines.push(line);
                    } else {
                        block.fields.truncate(before);
                    }
                    at = next;
                }
                SplitStep::More if at == 0 => self.refill()?,
                SplitStep::More | SplitStep::End => break,
            }
        }

        let tail = self.rest.split_off(at);
        block.text = std::mem::replace(&mut self.rest, tail);
        self.rows += block.lines.len() as u64;
        let is_over = self.ended && self.rest.is_empty() && block.lines.is_empty();
        if is_over {
            return Ok(None);
        }
        Ok(Some(block))
    }

    /// Decides whether a row is kept, and fills it if it is short.
    fn keeps(
        &mut self,
        fields: &mut Vec<FieldSpan>,
        from: usize,
        line: u64,
    ) -> Result<bool, TextFault> {
        let (found, width) = (fields.len() - from, self.header.len());
        if found == width {
            let is_header = self.is_header(&fields[from..]);
            self.odd.headers += u64::from(is_header);
            return Ok(!is_header);
        }
        match self.ragged {
            RaggedRule::Skip => {
                self.odd.skipped += 1;
                Ok(false)
            }
            RaggedRule::Fill if found < width => {
                fields.resize(from + width, FieldSpan::default());
                self.odd.filled += 1;
                Ok(true)
            }
            _ => Err(TextFault::Refused(self.uneven(&fields[from..], line))),
        }
    }

    fn is_header(&self, fields: &[FieldSpan]) -> bool {
        let is_same = |(field, name): (&FieldSpan, &Vec<u8>)| field.of(&self.rest) == *name;
        fields.len() > 1 && fields.iter().zip(&self.header_fields).all(is_same)
    }

    /// Refuses a row of another number of fields.
    fn uneven(&self, fields: &[FieldSpan], line: u64) -> Error {
        let last = fields
            .last()
            .map(|f| String::from_utf8_lossy(f.of(&self.rest)));
        let delimiters = dialect::delimiter_name(self.dialect.delimiter);
        Error::invalid(format!(
            "line {line}: the row has {} fields, the header has {} (separated by {delimiters}); the last field is '{}'; quote fields that hold the separator, or set ragged = \"skip\" to leave such rows out{}",
            fields.len(),
            self.header.len(),
            short(&last.unwrap_or_default()),
            if fields.len() < self.header.len() {
                ", or \"fill\" to fill short rows with missing values"
            } else {
                ""
            }
        ))
    }
}
