//! Splits text into records and fields, as RFC 4180 has it: a quoted field may hold separators, line
//! breaks and doubled quotes. Lines may end with LF, CRLF or CR. Works on a buffer in place; asks for
//! more text where a record is not complete.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result, short};

/// The longest record. A longer one is refused; usually a quote is not closed.
pub(super) const RECORD_BYTES_MAX: usize = 32 << 20;

/// Where a field is in its buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSpan {
    pub start: u32,
    pub end: u32,
}

impl FieldSpan {
    fn new(start: usize, end: usize) -> Self {
        // A buffer is at most some records long.
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// Returns the field without blanks around it.
    pub(crate) fn of<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let field = &text[self.start as usize..self.end as usize];
        match field {
            [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => trimmed(field),
            _ => field,
        }
    }
}

fn trimmed(field: &[u8]) -> &[u8] {
    let is_text = |b: &u8| !matches!(b, b' ' | b'\t');
    match field.iter().position(is_text) {
        Some(start) => {
            let end = field.iter().rposition(is_text).unwrap_or(start);
            &field[start..=end]
        }
        None => &[],
    }
}

/// What comes next in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SplitStep {
    /// A record, which ends before this position.
    Record(usize),
    /// A line without content.
    Blank(usize),
    /// The buffer ends within a record.
    More,
    /// The text ended.
    End,
}

/// Splits records of one text.
#[derive(Clone, Debug)]
pub(super) struct RecordSplitter {
    delimiter: u8,
    quote: Option<u8>,
    /// Bytes that end a field without quotes.
    ends: [bool; 256],
    /// The line of the next record, counted from 1.
    pub line: u64,
    /// The fields of the record that hold doubled quotes.
    doubled: Vec<usize>,
}

/// What ended a field.
enum FieldEnd {
    Delimiter,
    Line,
    Text,
}

impl RecordSplitter {
    pub(super) fn new(delimiter: u8, quote: Option<u8>) -> Self {
        let mut ends = [false; 256];
        for end in [delimiter, b'\n', b'\r'] {
            ends[usize::from(end)] = true;
        }
        Self {
            delimiter,
            quote,
            ends,
            line: 1,
            doubled: Vec::new(),
        }
    }

    /// Appends the fields of the record that begins at a position. `is_end` tells that no text
    /// follows the buffer.
    pub(super) fn step(
        &mut self,
        text: &mut [u8],
        at: usize,
        is_end: bool,
        fields: &mut Vec<FieldSpan>,
    ) -> Result<SplitStep> {
        if at >= text.len() {
            return Ok(if is_end {
                SplitStep::End
            } else {
                SplitStep::More
            });
        }
        let first = fields.len();
        self.doubled.clear();
        let mut lines = 0;
        let mut from = at;
        let mut has_quotes = false;
        loop {
            let quoted = self.quoted_start(text, from);
            let found = match quoted {
                Some(start) => {
                    let found = self.quoted(text, start, is_end, &mut lines)?;
                    if let Some((_, _, true)) = found {
                        self.doubled.push(fields.len());
                    }
                    found.map(|(span, next, _)| (span, next))
                }
                None => self.unquoted(text, from),
            };
            let Some((span, next)) = found else {
                fields.truncate(first);
                return Ok(SplitStep::More);
            };
            has_quotes |= quoted.is_some();
            let (end, next) = self.end(text, next);
            let is_cut = match end {
                FieldEnd::Delimiter => false,
                // A line end may have a second byte; a field at the end of the buffer may go on.
                FieldEnd::Line => next == text.len() && text[next - 1] == b'\r',
                FieldEnd::Text => true,
            };
            if is_cut && !is_end {
                fields.truncate(first);
                return Ok(SplitStep::More);
            }
            fields.push(span);
            from = next;
            if !matches!(end, FieldEnd::Delimiter) {
                break;
            }
        }

        // Only now, since a record that is not complete is split again.
        for at in &self.doubled {
            undouble(text, &mut fields[*at], self.quote.unwrap_or(b'"'));
        }
        self.line += lines + 1;
        let is_blank =
            fields.len() == first + 1 && !has_quotes && fields[first].of(text).is_empty();
        if is_blank {
            fields.truncate(first);
            return Ok(SplitStep::Blank(from));
        }
        Ok(SplitStep::Record(from))
    }

    /// Returns where the content of a quoted field begins, if the field is one.
    fn quoted_start(&self, text: &[u8], from: usize) -> Option<usize> {
        let quote = self.quote?;
        match text.get(from)? {
            first if *first == quote => Some(from + 1),
            b' ' => {
                let blanks = text[from..].iter().take_while(|b| **b == b' ').count();
                let at = from + blanks;
                (text.get(at) == Some(&quote)).then_some(at + 1)
            }
            _ => None,
        }
    }

    fn unquoted(&self, text: &[u8], from: usize) -> Option<(FieldSpan, usize)> {
        let mut end = from;
        while end < text.len() && !self.ends[usize::from(text[end])] {
            end += 1;
        }
        Some((FieldSpan::new(from, end), end))
    }

    /// Finds the end of a quoted field, the place after it, and whether it holds doubled quotes. None if
    /// the text ends before.
    fn quoted(
        &self,
        text: &[u8],
        start: usize,
        is_end: bool,
        lines: &mut u64,
    ) -> Result<Option<(FieldSpan, usize, bool)>> {
        let quote = self.quote.unwrap_or(b'"');
        let Some((close, doubled)) = closing(text, start, quote, is_end) else {
            if is_end || text.len() - start > RECORD_BYTES_MAX {
                return Err(Error::invalid(format!(
                    "line {}: a quoted field is not closed, after '{}'; close it, or set quote = \"\" if quotes mean nothing",
                    self.line + *lines,
                    short(&String::from_utf8_lossy(
                        &text[start..text.len().min(start + 40)]
                    ))
                )));
            }
            return Ok(None);
        };

        let mut next = close + 1;
        next += text[next..].iter().take_while(|b| **b == b' ').count();
        if next < text.len() && !self.ends[usize::from(text[next])] {
            return Err(Error::invalid(format!(
                "line {}: text follows the closing quote of '{}'; double the quotes within a field, or set quote = \"\" if quotes mean nothing",
                self.line + *lines,
                short(&String::from_utf8_lossy(&text[start..close]))
            )));
        }
        if next == text.len() && !is_end {
            return Ok(None);
        }
        *lines += text[start..close].iter().filter(|b| **b == b'\n').count() as u64;
        Ok(Some((FieldSpan::new(start, close), next, doubled)))
    }

    /// Returns what ended a field, and where the next one begins.
    fn end(&self, text: &[u8], at: usize) -> (FieldEnd, usize) {
        match text.get(at) {
            None => (FieldEnd::Text, at),
            Some(end) if *end == self.delimiter => (FieldEnd::Delimiter, at + 1),
            Some(b'\r') if text.get(at + 1) == Some(&b'\n') => (FieldEnd::Line, at + 2),
            Some(_) => (FieldEnd::Line, at + 1),
        }
    }
}

/// Finds the quote that closes a field, and whether doubled ones are before it.
fn closing(text: &[u8], start: usize, quote: u8, is_end: bool) -> Option<(usize, bool)> {
    let mut from = start;
    let mut doubled = false;
    loop {
        let at = from + text[from..].iter().position(|b| *b == quote)?;
        match text.get(at + 1) {
            Some(next) if *next == quote => doubled = true,
            // The next byte may double it.
            None if !is_end => return None,
            _ => return Some((at, doubled)),
        }
        from = at + 2;
    }
}

/// Makes one of each two quotes, in place.
fn undouble(text: &mut [u8], field: &mut FieldSpan, quote: u8) {
    let mut from = field.start as usize;
    let mut to = from;
    while from < field.end as usize {
        text[to] = text[from];
        from += 1 + usize::from(text[from] == quote);
        to += 1;
    }
    *field = FieldSpan::new(field.start as usize, to);
}
