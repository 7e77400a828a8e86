//! The encoding of a text table: by its byte order mark, by the zero bytes of UTF-16, else UTF-8 while
//! the bytes are valid. Turns any of them into UTF-8, piece by piece. Does not guess among encodings of
//! one byte: what is not UTF-8 is Windows-1252 unless set.

use super::format::TextRules;
use super::unpack::{Packing, unpack};
use super::{TEXT_BYTES_MAX, TextFault, TextSource, unreadable};
use crate::core::error::{Error, Result};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::io::Read;

/// The bytes from which the encoding is found.
const SAMPLE_BYTES: usize = 1 << 13;
/// The bytes that are read at once.
const READ_BYTES: usize = 1 << 18;

/// The text of a source, as UTF-8.
pub(super) struct DecodedText {
    pub packing: Packing,
    pub encoding: &'static Encoding,
    content: Box<dyn Read + Send>,
    /// None for UTF-8, which is checked rather than converted.
    decoder: Option<Decoder>,
    /// Bytes that were read and not yet decoded.
    pending: Vec<u8>,
    /// Bytes read so far.
    bytes: u64,
    ended: bool,
    /// Whether valid UTF-8 beyond ASCII was seen.
    has_wide: bool,
}

impl DecodedText {
    /// Opens a source. `encoding` overrides what its bytes say.
    pub(super) fn open(
        source: &TextSource,
        rules: &TextRules,
        encoding: Option<&'static Encoding>,
    ) -> Result<Self> {
        let (packing, content) = unpack(source)?;
        let mut text = Self {
            packing,
            encoding: UTF_8,
            content,
            decoder: None,
            pending: Vec::new(),
            bytes: 0,
            ended: false,
            has_wide: false,
        };
        text.fill(SAMPLE_BYTES)?;

        let marked = Encoding::for_bom(&text.pending);
        if let Some((_, mark_bytes)) = marked {
            text.pending.drain(..mark_bytes);
        }
        let set = rules.encoding.or(encoding);
        let found = match (marked, set) {
            // A byte order mark is certain.
            (Some((marked, _)), _) => marked,
            (None, Some(set)) => set,
            (None, None) => wide(&text.pending)?.unwrap_or(UTF_8),
        };
        text.encoding = found;
        if found != UTF_8 {
            text.decoder = Some(found.new_decoder_without_bom_handling());
        }
        Ok(text)
    }

    /// Reads until so many bytes are pending, or the end.
    fn fill(&mut self, bytes: usize) -> Result<()> {
        let wanted = bytes.saturating_sub(self.pending.len()) as u64;
        let mut some = Read::by_ref(&mut self.content).take(wanted);
        let read = some.read_to_end(&mut self.pending).map_err(unreadable)?;
        self.ended = (read as u64) < wanted;
        self.bytes += read as u64;
        if self.bytes > TEXT_BYTES_MAX {
            return Err(Error::too_large(format!(
                "holds over {TEXT_BYTES_MAX} bytes of text; split it, or convert it to Parquet"
            )));
        }
        Ok(())
    }

    /// Appends more text; false at the end.
    pub(super) fn read(&mut self, text: &mut Vec<u8>) -> Result<bool, TextFault> {
        if !self.ended {
            self.fill(READ_BYTES)?;
        }
        match self.decoder.as_mut() {
            None => self.check(text)?,
            Some(_) => self.convert(text)?,
        }
        Ok(!(self.ended && self.pending.is_empty()))
    }

    /// Takes valid UTF-8; a character that is cut off waits for its rest.
    fn check(&mut self, text: &mut Vec<u8>) -> Result<(), TextFault> {
        let valid = match std::str::from_utf8(&self.pending) {
            Ok(all) => all.len(),
            Err(e) if e.error_len().is_none() && !self.ended => e.valid_up_to(),
            Err(e) => {
                let before = &self.pending[..e.valid_up_to()];
                if !self.has_wide && before.is_ascii() {
                    return Err(TextFault::NotUtf8);
                }
                return Err(self.mixed(before, text));
            }
        };
        self.has_wide = self.has_wide || !self.pending[..valid].is_ascii();
        text.extend_from_slice(&self.pending[..valid]);
        self.pending.drain(..valid);
        Ok(())
    }

    /// Refuses bytes that are not UTF-8 after some that are.
    fn mixed(&self, before: &[u8], text: &[u8]) -> TextFault {
        let line = [text, before].concat();
        let start = line
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let start = String::from_utf8_lossy(&line[start..]).into_owned();
        TextFault::Refused(Error::invalid(format!(
            "is UTF-8 at first, but not after '{}'; convert the file, or set encoding = \"windows-1252\"",
            crate::core::error::short(&start)
        )))
    }

    fn convert(&mut self, text: &mut Vec<u8>) -> Result<(), TextFault> {
        let Some(decoder) = self.decoder.as_mut() else {
            return Ok(());
        };
        let room = decoder.max_utf8_buffer_length_without_replacement(self.pending.len());
        let start = text.len();
        text.resize(start + room.unwrap_or(self.pending.len() * 4), 0);
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(
            &self.pending,
            &mut text[start..],
            self.ended,
        );
        text.truncate(start + written);
        self.pending.drain(..read);
        match result {
            DecoderResult::InputEmpty => Ok(()),
            DecoderResult::OutputFull => Ok(()),
            DecoderResult::Malformed(..) => Err(TextFault::Refused(Error::invalid(format!(
                "holds bytes that are not {}; set 'encoding' to the right one",
                self.encoding.name()
            )))),
        }
    }
}

/// Recognizes UTF-16 by its zero bytes. Refuses what is no text.
fn wide(sample: &[u8]) -> Result<Option<&'static Encoding>> {
    let zeros = |odd: usize| {
        let half = sample.iter().skip(odd).step_by(2);
        half.filter(|b| **b == 0).count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    // Text in a Latin script has a zero in nearly every pair; separators have one in any script.
    if (even + odd) * 32 <= sample.len() {
        return Ok(None);
    }
    match (even * 20 < odd, odd * 20 < even) {
        (true, _) => Ok(Some(UTF_16LE)),
        (_, true) => Ok(Some(UTF_16BE)),
        _ => Err(Error::invalid(
            "is no text: it holds zero bytes; save it as CSV, or Parquet",
        )),
    }
}
