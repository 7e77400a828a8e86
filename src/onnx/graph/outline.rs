//! Copies an ONNX file without its weights, so that a graph of any size can be read
//! without the whole file in memory. Knows which fields are large, and checks
//! that the bytes it skips exist.

use super::parts::MessageLevel;
use super::truncated;
use crate::core::error::{Error, Result};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

/// The largest outline: names, shapes and nodes, without weights.
const OUTLINE_BYTES_MAX: usize = 256 << 20;
/// Bulk fields up to this length are kept: small tensors are part of the graph.
const SMALL_BYTES_MAX: u64 = 256;
/// The deepest nesting of messages, the decoder's own limit.
const DEPTH_MAX: usize = 100;

/// Reads the outline of a file from its start.
pub(super) fn read(file: &mut File) -> Result<Vec<u8>> {
    let unreadable = |e: io::Error| Error::unavailable("read the model").with_source(e);
    let length = file.metadata().map_err(unreadable)?.len();
    file.rewind().map_err(unreadable)?;
    let mut source = OutlineReader {
        reader: BufReader::with_capacity(64 << 10, file),
        kept: 0,
    };
    let mut out = Vec::new();
    source.message(MessageLevel::Model, length, &mut out, 0)?;
    Ok(out)
}

struct OutlineReader<'f> {
    reader: BufReader<&'f mut File>,
    /// Bytes copied so far, over all levels.
    kept: usize,
}

/// The head of a field that has a length.
struct FieldHead {
    level: MessageLevel,
    /// Number and wire type.
    key: u64,
    depth: usize,
}

impl OutlineReader<'_> {
    /// Copies a message of `left` bytes.
    fn message(
        &mut self,
        level: MessageLevel,
        mut left: u64,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::invalid(format!(
                "not an ONNX model: nested deeper than {DEPTH_MAX}"
            )));
        }

        while left > 0 {
            let key = self.varint(&mut left)?;
            if out.len() > OUTLINE_BYTES_MAX {
                return Err(too_large());
            }
            match key & 7 {
                0 => {
                    let value = self.varint(&mut left)?;
                    prost::encoding::encode_varint(key, out);
                    prost::encoding::encode_varint(value, out);
                }
                1 => self.copy(key, 8, &mut left, out)?,
                5 => self.copy(key, 4, &mut left, out)?,
                2 => self.field(&FieldHead { level, key, depth }, &mut left, out)?,
                _ => return Err(truncated()),
            }
        }

        Ok(())
    }

    /// Copies a field with a length; leaves out the bytes of weights.
    fn field(&mut self, field: &FieldHead, left: &mut u64, out: &mut Vec<u8>) -> Result<()> {
        let &FieldHead { level, key, depth } = field;
        let length = self.varint(left)?;
        if length > *left {
            return Err(truncated());
        }
        let child = level.child(key >> 3).filter(|child| child.holds_bulk());
        if let Some(child) = child {
            let mut body = Vec::new();
            self.message(child, length, &mut body, depth + 1)?;
            *left -= length;
            prost::encoding::encode_varint(key, out);
            prost::encoding::encode_varint(body.len() as u64, out);
            out.append(&mut body);
            return Ok(());
        }

        if level.is_bulk(key >> 3) && length > SMALL_BYTES_MAX {
            *left -= length;
            let skip = i64::try_from(length).map_err(|_| truncated())?;
            return self.reader.seek_relative(skip).map_err(unreadable);
        }

        prost::encoding::encode_varint(key, out);
        self.copy(length, length, left, out)
    }

    /// Copies `length` bytes after writing `head`.
    fn copy(&mut self, head: u64, length: u64, left: &mut u64, out: &mut Vec<u8>) -> Result<()> {
        let bytes = usize::try_from(length)
            .ok()
            .filter(|n| length <= *left && *n <= OUTLINE_BYTES_MAX);
        let bytes = bytes.ok_or_else(truncated)?;
        self.kept += bytes;
        if self.kept > OUTLINE_BYTES_MAX {
            return Err(too_large());
        }
        prost::encoding::encode_varint(head, out);
        let start = out.len();
        out.resize(start + bytes, 0);
        self.reader
            .read_exact(&mut out[start..])
            .map_err(unreadable)?;
        *left -= length;
        Ok(())
    }

    fn varint(&mut self, left: &mut u64) -> Result<u64> {
        let mut value = 0;
        for i in 0..10 {
            if *left == 0 {
                return Err(truncated());
            }
            let mut byte = [0];
            self.reader.read_exact(&mut byte).map_err(unreadable)?;
            *left -= 1;
            value |= u64::from(byte[0] & 0x7f) << (7 * i);
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }

        Err(truncated())
    }
}

fn too_large() -> Error {
    Error::invalid(format!(
        "the graph is over {OUTLINE_BYTES_MAX} bytes without its weights"
    ))
}

fn unreadable(error: io::Error) -> Error {
    truncated().with_source(error)
}
