//! An HTTP/1.1 client: one request at a time on a connection, whose head and body
//! are encoded already.

use super::{ANSWER_BYTES_MAX, Answer, timeout_text};
use crate::Result;
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEAD_BYTES_MAX: usize = 64 << 10;
const READ_BYTES: usize = 64 << 10;

pub(super) struct HttpClient {
    stream: TcpStream,
    buffer: BytesMut,
    /// The header line with the deadline, or nothing.
    deadline: String,
}

/// The head of an answer.
#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    /// Where the body begins.
    length: usize,
    body: usize,
}

impl HttpClient {
    pub(super) async fn connect(address: &str, deadline: Option<Duration>) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let line = |d| format!("grpc-timeout: {}\r\n", timeout_text(d));
        Ok(Self {
            stream,
            buffer: BytesMut::new(),
            deadline: deadline.map(line).unwrap_or_default(),
        })
    }

    /// Sends one request and reads its answer.
    pub(super) async fn call(&mut self, request: &[u8]) -> Result<Answer> {
        if self.deadline.is_empty() {
            self.stream.write_all(request).await?;
        } else {
            // After the first line.
            let line = request
                .iter()
                .position(|b| *b == b'\n')
                .map_or(0, |at| at + 1);
            let parts = [&request[..line], self.deadline.as_bytes(), &request[line..]];
            self.stream.write_all(&parts.concat()).await?;
        }

        let head = loop {
            if let Some(head) = parse(&self.buffer)? {
                break head;
            }
            self.read().await?;
        };
        let end = head.length + head.body;
        while self.buffer.len() < end {
            self.buffer.reserve(end - self.buffer.len());
            self.read().await?;
        }
        let body = self.buffer.split_to(end).freeze().slice(head.length..);
        Ok(answer(head.status, body))
    }

    async fn read(&mut self) -> Result<()> {
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}

fn answer(status: u16, body: Bytes) -> Answer {
    match status {
        200 => Answer::Message(body),
        429 | 503 => Answer::Overloaded,
        504 => Answer::Expired,
        _ => Answer::Failed(format!("{status}: {}", String::from_utf8_lossy(&body))),
    }
}

/// Reads the head of an answer once it is there as a whole.
fn parse(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return match bytes.len() > HEAD_BYTES_MAX {
            true => Err("the head of the answer is too long".into()),
            false => Ok(None),
        };
    };
    let text = std::str::from_utf8(&bytes[..end])?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|l| l.split(' ').nth(1));
    let status = status.ok_or("the answer has no status")?.parse()?;
    let mut headers = lines.filter_map(|l| l.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let body = length.ok_or("the answer has no length")?.1.trim().parse()?;
    if body > ANSWER_BYTES_MAX {
        return Err("the answer is too long".into());
    }
    Ok(Some(Head {
        status,
        length: end + 4,
        body,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let whole = b"HTTP/1.1 200 OK\r\na: b\r\nCONTENT-length: 7\r\n\r\n{";
        let head = parse(whole).unwrap().unwrap();
        assert_eq!((head.status, head.length, head.body), (200, 44, 7));
        assert_eq!(parse(&whole[..43]).unwrap(), None);
    }

    #[test]
    fn answers_without_a_length_or_too_long_are_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse(b"x\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n").is_err());
        assert!(parse(&vec![b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
