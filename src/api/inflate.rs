//! Decompresses the body of a REST request as its `Content-Encoding` says. Owns the
//! list of encodings. The size after decompression has an absolute limit and no ratio:
//! gzip expands at most 1032 times, and sparse data comes close to that.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Kind, Result, short};
use bytes::Bytes;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use std::io::{BufRead, ErrorKind, Read};
use std::time::Instant;

/// The encodings that a request may use, as `Accept-Encoding` names them.
pub(crate) const ENCODINGS: &str = "gzip, deflate, identity";

/// Bytes that are decompressed between two turns of other requests of the thread.
const STEP_BYTES: usize = 256 << 10;
/// Compressed bytes that are read between two turns: some forms of them decompress to nothing.
const STEP_INPUT: usize = 4 << 10;
/// What the first two bytes of each gzip member are.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Charges bytes to the request. Refuses bytes beyond the ceiling of all requests.
pub(crate) type ChargeBytes<'c> = dyn Fn(usize) -> Result<()> + Sync + 'c;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

/// Reads `Content-Encoding`. Refuses an unknown encoding, and more than one.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Encoding> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let texts = values.map(|value| value.to_str().unwrap_or("?"));
    let mut found = Encoding::Identity;

    for coding in texts.flat_map(|text| text.split(',')).map(str::trim) {
        let lower = coding.to_ascii_lowercase();
        let next = match lower.as_str() {
            "" | "identity" => continue,
            "gzip" | "x-gzip" => Encoding::Gzip,
            "deflate" => Encoding::Deflate,
            _ => return Err(unsupported(&lower)),
        };
        if found != Encoding::Identity {
            return Err(Error::unsupported_encoding(format!(
                "content-encoding names more than one encoding; send one of {ENCODINGS}"
            )));
        }
        found = next;
    }

    Ok(found)
}

fn unsupported(coding: &str) -> Error {
    Error::unsupported_encoding(format!(
        "content-encoding '{}' is not supported; send one of {ENCODINGS}",
        short(coding)
    ))
}

/// What decompression may use.
pub(crate) struct InflateLimits<'c> {
    /// Bytes after decompression.
    pub max: usize,
    pub until: Instant,
    pub charge: &'c ChargeBytes<'c>,
}

/// Decompresses a body. Each byte is charged before it is kept. Lets other tasks run between steps, and
/// stops when it is dropped.
pub(crate) async fn decoded(
    headers: &HeaderMap,
    body: Bytes,
    limits: InflateLimits<'_>,
) -> Result<Bytes> {
    let mut inflated = Inflated {
        bytes: Vec::new(),
        limits,
        since_turn: 0,
    };

    match encoding(headers)? {
        Encoding::Identity => return Ok(body),
        Encoding::Gzip => inflated.read_members(&body).await?,
        Encoding::Deflate => {
            let mut decoder = ZlibDecoder::new(SteppedInput::new(&body));
            let read = inflated.read(&mut decoder, ZlibDecoder::get_mut).await;
            read.map_err(|error| match error.kind {
                Kind::InvalidArgument => {
                    Error::invalid("the body is not in the zlib format, which deflate stands for")
                        .with_source(error)
                }
                _ => error,
            })?;
            refuse_rest("deflate stream", decoder.get_ref().rest)?;
        }
    }

    Ok(inflated.bytes.into())
}

/// What was decompressed so far.
struct Inflated<'c> {
    bytes: Vec<u8>,
    limits: InflateLimits<'c>,
    /// Bytes since other tasks could last run.
    since_turn: usize,
}

impl Inflated<'_> {
    /// Reads every member: RFC 1952 allows any number, and their contents are joined.
    async fn read_members(&mut self, body: &[u8]) -> Result<()> {
        let mut rest = body;
        loop {
            let mut decoder = GzDecoder::new(SteppedInput::new(rest));
            self.read(&mut decoder, GzDecoder::get_mut).await?;
            rest = decoder.into_inner().rest;

            if rest.is_empty() {
                return Ok(());
            }
            if !rest.starts_with(GZIP_MAGIC) {
                return refuse_rest("last gzip member", rest);
            }
            // A body may hold millions of empty members.
            self.count_towards_turn(STEP_BYTES / 16).await?;
        }
    }

    /// `input` returns what the decoder reads from.
    async fn read<'b, D: Read>(
        &mut self,
        decoder: &mut D,
        input: impl Fn(&mut D) -> &mut SteppedInput<'b>,
    ) -> Result<()> {
        let mut buffer = vec![0; (16 << 10).min(STEP_BYTES)];
        loop {
            let count = match decoder.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.count_towards_turn(STEP_BYTES).await?;
                    input(decoder).step = STEP_INPUT;
                    continue;
                }
                count => count.map_err(malformed)?,
            };
            if count == 0 {
                return Ok(());
            }

            if count > self.limits.max - self.bytes.len() {
                return Err(Error::too_large(format!(
                    "the body decompresses beyond the limit of {} bytes; send less in one request",
                    self.limits.max
                )));
            }
            (self.limits.charge)(count)?;
            self.bytes.extend_from_slice(&buffer[..count]);
            self.count_towards_turn(count).await?;
        }
    }

    async fn count_towards_turn(&mut self, bytes: usize) -> Result<()> {
        self.since_turn += bytes;
        if self.since_turn < STEP_BYTES {
            return Ok(());
        }

        self.since_turn = 0;
        tokio::task::yield_now().await;
        if Instant::now() > self.limits.until {
            return Err(Error::late("the body was not decompressed in time"));
        }
        Ok(())
    }
}

/// A compressed body that a decoder reads in steps. After each it is told to try again.
struct SteppedInput<'b> {
    rest: &'b [u8],
    /// Bytes that are left of this step.
    step: usize,
}

impl<'b> SteppedInput<'b> {
    fn new(rest: &'b [u8]) -> Self {
        Self {
            rest,
            step: STEP_INPUT,
        }
    }
}

impl BufRead for SteppedInput<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.step == 0 && !self.rest.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(&self.rest[..self.step.min(self.rest.len())])
    }

    fn consume(&mut self, count: usize) {
        self.rest = &self.rest[count..];
        self.step -= count;
    }
}

impl Read for SteppedInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

fn refuse_rest(after: &str, rest: &[u8]) -> Result<()> {
    if rest.is_empty() {
        return Ok(());
    }

    Err(Error::invalid(format!(
        "{} bytes follow the {after} of the body; send compressed data only",
        rest.len()
    )))
}

fn malformed(error: std::io::Error) -> Error {
    Error::invalid("the body does not match its content-encoding").with_source(error)
}
