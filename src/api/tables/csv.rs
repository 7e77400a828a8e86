//! Records of CSV: cells between commas, quotes, and lines, as RFC 4180 and pandas write them. Reads one cell at a
//! time, so that whoever takes the cells can stop at a limit. Knows no columns.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use std::borrow::Cow;

/// The records of a body.
pub(crate) struct CsvRecords<'b> {
    text: &'b str,
    at: usize,
    /// Whether the record has a further cell.
    is_open: bool,
    /// Records begun, the header included.
    records: usize,
}

impl<'b> CsvRecords<'b> {
    /// Starts before the first record. Refuses a body that is not UTF-8.
    pub(crate) fn of(body: &'b [u8]) -> Result<Self> {
        let text = str::from_utf8(body)
            .map_err(|_| Error::invalid("the body is not CSV: it is not UTF-8"))?;
        Ok(Self {
            text: text.strip_prefix('\u{feff}').unwrap_or(text),
            at: 0,
            is_open: false,
            records: 0,
        })
    }

    /// Begins the next record. Passes over empty lines; tells whether there is one. The one before must be read to
    /// its end.
    pub(crate) fn next_record(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b'\r' | b'\n')) {
            self.at += 1;
        }
        self.is_open = self.at < bytes.len();
        self.records += usize::from(self.is_open);
        self.is_open
    }

    /// Reads the next cell of the record; none at its end. Refuses a quote that is not closed.
    pub(crate) fn next_cell(&mut self) -> Result<Option<Cow<'b, str>>> {
        if !self.is_open {
            return Ok(None);
        }
        let is_quoted = self.text.as_bytes().get(self.at) == Some(&b'"');
        let mut cell = if is_quoted {
            self.quoted()?
        } else {
            Cow::default()
        };

        let rest = &self.text.as_bytes()[self.at..];
        let ends = |byte: &u8| matches!(byte, b',' | b'\r' | b'\n');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        let plain = &self.text[self.at..self.at + length];
        // Text after a closing quote belongs to the cell.
        if cell.is_empty() {
            cell = Cow::Borrowed(plain);
        } else if !plain.is_empty() {
            cell.to_mut().push_str(plain);
        }

        self.is_open = rest.get(length) == Some(&b',');
        self.at += length + usize::from(self.is_open);
        Ok(Some(cell))
    }

    /// Reads text in quotes, in which two quotes stand for one.
    fn quoted(&mut self) -> Result<Cow<'b, str>> {
        let mut cell: Cow<'b, str> = Cow::default();
        loop {
            let start = self.at + 1;
            let length = self.text[start..]
                .find('"')
                .ok_or_else(|| self.unclosed())?;
            let is_doubled = self.text.as_bytes().get(start + length + 1) == Some(&b'"');
            let end = start + length + usize::from(is_doubled);
            let part = &self.text[start..end];
            if cell.is_empty() {
                cell = Cow::Borrowed(part);
            } else {
                cell.to_mut().push_str(part);
            }
            self.at = start + length + 1;
            if !is_doubled {
                return Ok(cell);
            }
        }
    }

    fn unclosed(&self) -> Error {
        let record = match self.records {
            0 | 1 => "the header".to_owned(),
            records => format!("row {}", records - 2),
        };
        Error::invalid(format!(
            "the body is not CSV: a quote that begins in {record} is not closed"
        ))
    }
}
