//! Reads the fields of an encoded protobuf message one by one, without decoding
//! the whole into memory. Knows no field of ONNX.

use super::parts::{take, varint};
use super::truncated;
use crate::core::error::Result;

/// The bodies of one field of a message.
pub(in crate::onnx) fn bodies(message: &[u8], wanted: u64) -> impl Iterator<Item = Result<&[u8]>> {
    Fields { rest: message }.filter_map(move |field| match field {
        Ok((tag, WireField::Body(body))) if tag == wanted => Some(Ok(body)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// The content of a field, by its wire type.
pub(in crate::onnx) enum WireField<'m> {
    Number(u64),
    Body(&'m [u8]),
    Fixed,
}

/// The fields of a message, in their order.
pub(in crate::onnx) struct Fields<'m> {
    pub rest: &'m [u8],
}

impl<'m> Fields<'m> {
    fn read(&mut self) -> Result<(u64, WireField<'m>)> {
        let key = varint(&mut self.rest)?;
        let field = match key & 7 {
            0 => WireField::Number(varint(&mut self.rest)?),
            1 => take(&mut self.rest, 8).map(|_| WireField::Fixed)?,
            5 => take(&mut self.rest, 4).map(|_| WireField::Fixed)?,
            2 => {
                let length = varint(&mut self.rest)?;
                WireField::Body(take(&mut self.rest, length)?)
            }
            _ => return Err(truncated()),
        };

        Ok((key >> 3, field))
    }
}

impl<'m> Iterator for Fields<'m> {
    type Item = Result<(u64, WireField<'m>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}
