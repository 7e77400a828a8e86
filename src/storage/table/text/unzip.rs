//! The only file of a zip archive, as a stream. The directory is read by `zip`; the content is inflated
//! by `flate2`, as that of gzip is, because `zip` lends its reader and does not give it away.

use super::{SeekRead, unreadable};
use crate::core::error::{Error, Result, short};
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// What a zip archive begins with.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
/// What a buffer holds of the archive.
const BUFFER_BYTES: usize = 1 << 16;

fn broken(error: ZipError) -> Error {
    match error {
        ZipError::Io(e) if e.kind() != io::ErrorKind::UnexpectedEof => unreadable(e),
        other => Error::invalid("is a damaged zip archive; pack it again").with_source(other),
    }
}

/// Opens the only file of an archive. Folders and the notes of macOS do not count. Refuses workbooks of
/// Excel, archives of several files, and files that are encrypted or neither stored nor deflated.
pub(super) fn only_file(file: Box<dyn SeekRead>) -> Result<Box<dyn Read + Send>> {
    let buffered = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut archive = ZipArchive::new(buffered).map_err(broken)?;
    let at = only_index(&archive)?;
    let member = archive.by_index_raw(at).map_err(broken)?;
    if member.encrypted() {
        return Err(Error::invalid(
            "is an encrypted zip archive; unpack it first",
        ));
    }
    let is_deflated = match member.compression() {
        CompressionMethod::STORE => false,
        CompressionMethod::DEFLATE => true,
        other => {
            return Err(Error::invalid(format!(
                "is a zip archive packed by the method {other}; deflate is read, so pack it again or unpack it"
            )));
        }
    };
    let (crc, bytes) = (member.crc32(), member.compressed_size());
    let name = String::from_utf8_lossy(member.name_raw()).into_owned();
    let begins = member
        .data_start()
        .ok_or_else(|| broken(ZipError::FileNotFound))?;
    drop(member);

    let mut stored = archive.into_inner();
    stored.seek(SeekFrom::Start(begins)).map_err(unreadable)?;
    let stored = stored.take(bytes);
    let content: Box<dyn Read + Send> = if is_deflated {
        Box::new(DeflateDecoder::new(stored))
    } else {
        Box::new(stored)
    };
    Ok(Box::new(ZipMember {
        content,
        found: Crc::new(),
        crc,
        name,
    }))
}

/// Returns the place of the only file.
fn only_index(archive: &ZipArchive<BufReader<Box<dyn SeekRead>>>) -> Result<usize> {
    let names: Vec<String> = archive
        .file_names_raw()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    if names.iter().any(|name| name.starts_with("xl/")) {
        return Err(Error::invalid(
            "is a workbook of Excel (.xlsx), which is not read; save it as CSV, or Parquet",
        ));
    }
    if archive.has_duplicate_names() {
        return Err(Error::invalid(
            "is a zip archive with several files of one name; unpack it and name the files",
        ));
    }
    let is_file = |name: &str| !name.ends_with('/') && !name.starts_with("__MACOSX/");
    let files: Vec<usize> = (0..names.len()).filter(|at| is_file(&names[*at])).collect();
    match files[..] {
        [only] => Ok(only),
        _ => {
            let some: Vec<&str> = files.iter().take(5).map(|at| short(&names[*at])).collect();
            Err(Error::invalid(format!(
                "is a zip archive of {} files ({}); one with exactly one file is read, so unpack it and name the files",
                files.len(),
                some.join(", ")
            )))
        }
    }
}

/// The content of a file in a zip archive, checked at its end.
struct ZipMember {
    content: Box<dyn Read + Send>,
    found: Crc,
    /// The checksum in the archive.
    crc: u32,
    name: String,
}

impl Read for ZipMember {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.found.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() && self.found.sum() != self.crc {
            let why = format!(
                "the zip archive is damaged: the checksum of {} differs",
                short(&self.name)
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(read)
    }
}
