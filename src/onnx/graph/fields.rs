//! Reads the fields of an encoded ONNX message one by one. Knows no field of ONNX.

use super::truncated;
use crate::core::error::Result;
use crate::core::fields::{Fields, WireField};

/// The fields of a message with their numbers, in their order.
pub(in crate::onnx) fn fields_of(
    message: &[u8],
) -> impl Iterator<Item = Result<(u64, WireField<'_>)>> {
    Fields::of(message).map(|field| field.map_err(|_| truncated()))
}

/// The bodies of one field of a message.
pub(in crate::onnx) fn bodies(message: &[u8], wanted: u64) -> impl Iterator<Item = Result<&[u8]>> {
    fields_of(message).filter_map(move |field| match field {
        Ok((tag, WireField::Body(body))) if tag == wanted => Some(Ok(body)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}
