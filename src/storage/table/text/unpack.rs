//! Compression of a text table, found by its first bytes: gzip, zstd, zip. Refuses what holds no text
//! table, such as a workbook of Excel, with what to do instead.

use super::unzip;
use super::{SeekRead, TextSource, unreadable};
use crate::core::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, BufReader, Read};

/// The largest window of zstd, which is memory.
const ZSTD_WINDOW_BYTES_MAX: u64 = 128 << 20;
/// What a buffer holds between a file and its decompression.
const BUFFER_BYTES: usize = 1 << 16;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Zstd,
    Zip,
}

impl Packing {
    /// The name in a line about the file.
    pub(super) fn label(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
            Self::Zip => Some("zip"),
        }
    }
}

/// Files that hold no text table: what they begin with, what they are, and what to do.
const OTHERS: [(&[u8], &str); 5] = [
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "is a workbook of Excel (.xls), which is not read; save it as CSV, or Parquet",
    ),
    (b"PAR1", "is a Parquet file; give it the extension .parquet"),
    (
        b"BZh",
        "is compressed with bzip2, which is not read; decompress it, or use gzip or zstd",
    ),
    (
        b"\xfd7zXZ\x00",
        "is compressed with xz, which is not read; decompress it, or use gzip or zstd",
    ),
    (
        b"%PDF",
        "is a PDF document, not a table; save it as CSV, or Parquet",
    ),
];

/// Opens a source and decompresses it.
pub(super) fn unpack(source: &TextSource) -> Result<(Packing, Box<dyn Read + Send>)> {
    let mut file = source.open()?;
    let mut magic = Vec::new();
    let head = Read::by_ref(&mut file).take(8).read_to_end(&mut magic);
    head.map_err(unreadable)?;
    if let Some((_, why)) = OTHERS.iter().find(|(begins, _)| magic.starts_with(begins)) {
        return Err(Error::invalid(*why));
    }
    file.rewind().map_err(unreadable)?;

    if magic.starts_with(b"\x1f\x8b") {
        let buffered = BufReader::with_capacity(BUFFER_BYTES, file);
        return Ok((Packing::Gzip, Box::new(MultiGzDecoder::new(buffered))));
    }
    if magic.starts_with(b"\x28\xb5\x2f\xfd") {
        let frames = ZstdFrames::new(BufReader::with_capacity(BUFFER_BYTES, file));
        return Ok((Packing::Zstd, Box::new(frames)));
    }
    if magic.starts_with(unzip::MAGIC) {
        return Ok((Packing::Zip, unzip::only_file(file)?));
    }
    Ok((Packing::None, Box::new(file)))
}

/// Frames of zstd, one after another.
struct ZstdFrames {
    file: BufReader<Box<dyn SeekRead>>,
    frame: FrameDecoder,
    /// Whether a frame was begun and not ended.
    within: bool,
}

impl ZstdFrames {
    fn new(file: BufReader<Box<dyn SeekRead>>) -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
        Self {
            file,
            frame,
            within: false,
        }
    }

    /// Begins the next frame; false at the end. Frames that hold no content are skipped.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.file.fill_buf()?.is_empty() {
            match self.frame.init(&mut self.file) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut skipped = Read::by_ref(&mut self.file).take(length.into());
                    io::copy(&mut skipped, &mut io::sink())?;
                }
                Err(e) => return Err(invalid(e.to_string())),
            }
        }
        Ok(false)
    }

    /// Ends a frame, whose checksum must be right.
    fn end(&mut self) -> io::Result<()> {
        self.within = false;
        let written = self.frame.get_checksum_from_data();
        if written.is_some() && written != self.frame.get_calculated_checksum() {
            return Err(invalid("the checksum differs".to_owned()));
        }
        Ok(())
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Read for ZstdFrames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within {
                self.within = self.begin()?;
                if !self.within {
                    return Ok(0);
                }
            }
            let read = self.frame.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if self.frame.is_finished() {
                self.end()?;
                continue;
            }
            let one = BlockDecodingStrategy::UptoBlocks(1);
            let decoded = self.frame.decode_blocks(&mut self.file, one);
            decoded.map_err(|e| invalid(e.to_string()))?;
        }
    }
}
