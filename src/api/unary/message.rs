//! Reads the one message of a unary call as it arrives. What comes in one piece is not copied.

use super::answer::PREFIX_BYTES;
use crate::api::body::{self, BodyDeadline};
use crate::api::request_body::poll_data;
use crate::api::{Charge, Front};
use crate::core::error::{Error, Result};
use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use std::task::{Context, Poll};

/// The message of a call while it arrives.
pub(super) struct Reading<'f> {
    body: RecvStream,
    until: BodyDeadline,
    message: PartialMessage,
    charge: Charge<&'f Front>,
}

impl<'f> Reading<'f> {
    pub(super) fn new(body: RecvStream, until: BodyDeadline, front: &'f Front) -> Self {
        Self {
            body,
            until,
            message: PartialMessage::new(front.limits.message_bytes_max),
            charge: Charge::new(front),
        }
    }

    /// Reads on. Returns the message, with the charge of its bytes. Errors: `TooLarge` beyond the limit,
    /// `ResourceExhausted` beyond the budget of the server, `DeadlineExceeded` or `Unavailable` when it is
    /// waited for no longer, and `InvalidArgument`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>> {
        loop {
            let data = match poll_data(&mut self.body, cx) {
                Poll::Ready(Some(data)) => data.map_err(body::broken)?,
                Poll::Ready(None) => return Poll::Ready(self.message.finish()),
                Poll::Pending => return self.until.poll_overdue(cx).map(Err),
            };
            self.charge.add(data.len())?;
            self.message.add(data)?;
        }
    }

    /// Leaves the body, and the charge, which is given back when it is dropped.
    pub(super) fn into_parts(self) -> (RecvStream, Charge<&'f Front>) {
        (self.body, self.charge)
    }
}

/// A message of which a part has arrived. Pure.
pub(crate) struct PartialMessage {
    bytes_max: usize,
    /// All that arrived, as long as that is one piece.
    first: Bytes,
    /// All that arrived, once there are several.
    joined: BytesMut,
}

impl PartialMessage {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            first: Bytes::new(),
            joined: BytesMut::new(),
        }
    }

    /// Adds what arrived. Refuses a message as soon as its length shows that it is too large.
    pub(crate) fn add(&mut self, data: Bytes) -> Result<()> {
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = data;
        } else {
            if self.joined.is_empty() {
                let first = std::mem::take(&mut self.first);
                let whole = announced(&first).map_or(0, |length| PREFIX_BYTES + length);
                let room = whole.min(PREFIX_BYTES + self.bytes_max);
                self.joined.reserve(room.max(first.len() + data.len()));
                self.joined.extend_from_slice(&first);
            }
            self.joined.extend_from_slice(&data);
        }

        match announced(self.bytes()) {
            Some(length) if length > self.bytes_max => Err(Error::too_large(format!(
                "the message has {length} bytes, which is over the limit of {} bytes",
                self.bytes_max
            ))),
            Some(length) if self.bytes().len() > PREFIX_BYTES + length => Err(Error::invalid(
                "the request has more than one message, or bytes after its message; this call takes one message",
            )),
            _ => Ok(()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self.joined.is_empty() {
            true => &self.first,
            false => &self.joined,
        }
    }

    /// Returns the message without its prefix.
    pub(crate) fn finish(&mut self) -> Result<Bytes> {
        let bytes = self.bytes();
        let Some(length) = announced(bytes) else {
            return Err(Error::invalid(match bytes.is_empty() {
                true => "the request has no message; this call takes one message",
                false => "the request body ended within the prefix of its message",
            }));
        };
        if bytes.len() < PREFIX_BYTES + length {
            return Err(Error::invalid(format!(
                "the request body ended after {} of the {length} bytes of its message",
                bytes.len() - PREFIX_BYTES
            )));
        }
        if bytes[0] != 0 {
            return Err(Error::invalid(
                "the message is marked as compressed, but the header grpc-encoding is missing",
            ));
        }

        let mut whole = match self.joined.is_empty() {
            true => std::mem::take(&mut self.first),
            false => std::mem::take(&mut self.joined).freeze(),
        };
        whole.advance(PREFIX_BYTES);
        Ok(whole)
    }
}

/// The length of the message, once its prefix has arrived.
fn announced(bytes: &[u8]) -> Option<usize> {
    let length: [u8; 4] = bytes.get(1..PREFIX_BYTES)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(length)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds pieces of these sizes.
    fn read(bytes: &[u8], sizes: &[usize], bytes_max: usize) -> Result<Bytes> {
        let mut message = PartialMessage::new(bytes_max);
        let mut rest = Bytes::copy_from_slice(bytes);
        for size in sizes {
            message.add(rest.split_to((*size).min(rest.len())))?;
        }
        message.add(rest)?;
        message.finish()
    }

    fn refusal(bytes: &[u8], sizes: &[usize], bytes_max: usize) -> String {
        read(bytes, sizes, bytes_max)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn a_message_is_read_whole_however_it_is_cut() {
        let bytes = b"\0\0\0\0\x06abcdef";
        for sizes in [&[][..], &[1], &[5], &[6], &[3, 4], &[0, 4, 0, 1, 3]] {
            assert_eq!(&read(bytes, sizes, 6).expect("read")[..], b"abcdef");
        }
        assert_eq!(read(b"\0\0\0\0\0", &[2], 6).expect("read"), Bytes::new());
    }

    #[test]
    fn broken_bodies_are_refused_with_what_is_wrong() {
        for sizes in [&[][..], &[2], &[5, 1]] {
            let large = refusal(b"\0\0\0\0\x07abcdef", sizes, 6);
            assert!(
                large.contains("has 7 bytes, which is over the limit of 6"),
                "{large}"
            );
            let more = refusal(b"\0\0\0\0\x03abcd", sizes, 6);
            assert!(more.contains("more than one message"), "{more}");
            let early = refusal(b"\0\0\0\0\x06abc", sizes, 6);
            assert!(early.contains("after 3 of the 6 bytes"), "{early}");
            let marked = refusal(b"\x01\0\0\0\x03abc", sizes, 6);
            assert!(marked.contains("grpc-encoding"), "{marked}");
        }
        assert!(refusal(b"", &[], 6).contains("no message"));
        assert!(refusal(b"\0\0\0", &[1], 6).contains("within the prefix"));
        // Nothing is reserved for what a prefix only announces.
        let mut message = PartialMessage::new(1 << 30);
        message.add(Bytes::from_static(b"\0")).expect("part");
        message
            .add(Bytes::from_static(b"\x3f\xff\xff"))
            .expect("part");
        assert!(message.joined.capacity() < 1 << 20);
    }
}
