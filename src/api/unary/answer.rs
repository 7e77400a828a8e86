//! The answer to a unary call: its headers, and its message as pieces that are not copied together.

use crate::api::inbound::AnswerHeaders;
use crate::core::error::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use prost::Message;

/// The bytes before a message: whether it is compressed, and its length.
pub(crate) const PREFIX_BYTES: usize = 5;
/// Content of at least so many bytes is sent from where it is.
pub(crate) const PIECE_BYTES_MIN: usize = 8 << 10;
/// Headers of an answer.
const HEADERS: usize = 6;

/// The answer to a unary call.
pub(crate) struct UnaryAnswer {
    pub headers: HeaderMap,
    /// The start of the message; most often all of it.
    pub first: Bytes,
    pub rest: Vec<Bytes>,
}

impl AnswerHeaders for UnaryAnswer {
    fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }
}

impl UnaryAnswer {
    /// Writes a message as a whole.
    pub(crate) fn whole(message: &impl Message) -> Result<Self> {
        let mut writer = AnswerWriter::new(message.encoded_len());
        message
            .encode(&mut writer.part)
            .map_err(|e| Error::internal("encode the answer").with_source(e))?;
        writer.finish()
    }
}

/// Writes the message of an answer.
pub(crate) struct AnswerWriter {
    /// Once a piece follows it.
    first: Option<BytesMut>,
    rest: Vec<Bytes>,
    /// What is being written.
    part: BytesMut,
}

impl AnswerWriter {
    /// Starts with room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut part = BytesMut::with_capacity(PREFIX_BYTES + bytes);
        part.put_bytes(0, PREFIX_BYTES);
        Self {
            first: None,
            rest: Vec::new(),
            part,
        }
    }

    /// Writes a field of text or bytes.
    pub(crate) fn field(&mut self, number: u32, value: &[u8]) {
        self.open(number, value.len());
        self.part.put_slice(value);
    }

    /// Writes a field of bytes, which are not copied if they are many.
    pub(crate) fn content(&mut self, number: u32, value: Bytes) {
        self.open(number, value.len());
        if value.len() < PIECE_BYTES_MIN {
            self.part.put_slice(&value);
            return;
        }
        let part = std::mem::take(&mut self.part);
        match self.first {
            None => self.first = Some(part),
            Some(_) => self.rest.push(part.freeze()),
        }
        self.rest.push(value);
    }

    /// Writes the start of a field of so many bytes.
    pub(crate) fn open(&mut self, number: u32, bytes: usize) {
        self.varint(u64::from(number << 3 | 2));
        self.varint(bytes as u64);
    }

    pub(crate) fn varint(&mut self, value: u64) {
        prost::encoding::encode_varint(value, &mut self.part);
    }

    /// Completes the answer.
    pub(crate) fn finish(mut self) -> Result<UnaryAnswer> {
        let mut first = match self.first.take() {
            None => std::mem::take(&mut self.part),
            Some(first) => first,
        };
        if !self.part.is_empty() {
            self.rest.push(self.part.freeze());
        }

        let rest: usize = self.rest.iter().map(Bytes::len).sum();
        let length = u32::try_from(first.len() - PREFIX_BYTES + rest).map_err(|_| {
            Error::too_large("the answer is over 4 GiB, which a gRPC message cannot hold")
        })?;
        first[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        let mut headers = HeaderMap::with_capacity(HEADERS);
        let kind = HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, kind);
        Ok(UnaryAnswer {
            headers,
            first: first.freeze(),
            rest: self.rest,
        })
    }
}

/// The bytes of a varint.
pub(crate) fn varint_bytes(value: u64) -> usize {
    prost::encoding::encoded_len_varint(value)
}
