//! Text tables as people have them: any usual separator, encoding, number format and date format,
//! plain or compressed. [`scan::scan`] reads all rows once and decides the types, [`read::TextReader`]
//! reads them again as typed columns. Knows no model and keeps no row.
//!
//! A file passes through [`unpack`] (compression), [`decode`] (encoding), [`dialect`] (separator),
//! [`split`] (fields), [`records`] (header and rows), [`cell`] (one value) and [`mod@column`] (all
//! values of a column).

pub(crate) mod cell;
pub(crate) mod column;
pub mod decide;
mod decode;
mod dialect;
pub mod format;
mod header;
mod number;
pub mod place;
pub mod read;
mod records;
pub mod scan;
mod split;
pub mod time_tally;
mod times;
mod unpack;
pub(crate) mod unzip;

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use bytes::Bytes;
use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};

/// The largest text, after it is decompressed. A larger one is refused.
pub const TEXT_BYTES_MAX: u64 = 64 << 30;

/// Where the bytes of a text table are.
#[derive(Clone, Debug)]
pub enum TextSource {
    /// A file.
    File(PathBuf),
    /// Bytes in memory, under a name.
    Memory {
        /// The name in messages.
        name: String,
        /// The content.
        bytes: Bytes,
    },
}

/// What a source is opened as.
trait SeekRead: Read + Seek + Send {}
impl<T: Read + Seek + Send> SeekRead for T {}

impl TextSource {
    /// Names a file.
    pub fn file(path: &Path) -> Self {
        Self::File(path.to_owned())
    }

    /// Wraps bytes in memory.
    pub fn memory(name: &str, bytes: impl Into<Bytes>) -> Self {
        Self::Memory {
            name: name.to_owned(),
            bytes: bytes.into(),
        }
    }

    /// The name in messages.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Memory { name, .. } => name.clone(),
        }
    }

    fn open(&self) -> Result<Box<dyn SeekRead>> {
        match self {
            Self::File(path) => match std::fs::File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(e) => Err(unreadable(e)),
            },
            Self::Memory { bytes, .. } => Ok(Box::new(Cursor::new(bytes.clone()))),
        }
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::invalid(format!("cannot be read: {error}")).with_source(error)
}

/// Why reading stopped.
#[derive(Debug)]
pub(crate) enum TextFault {
    /// The bytes are not UTF-8; they may be of another encoding.
    NotUtf8,
    /// The file is refused.
    Refused(Error),
}

impl From<Error> for TextFault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}
