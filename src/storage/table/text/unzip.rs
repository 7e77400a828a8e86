//! The directory of a zip archive, as far as it takes to find the only file in it. Reads stored and
//! deflated files; refuses encrypted ones.

use super::{SeekRead, unreadable};
use crate::core::error::{Error, Result, short};
use std::io::SeekFrom;

/// What a zip archive begins with.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
/// The longest end of an archive: its record and its comment.
const END_BYTES_MAX: u64 = 22 + 65_535;
/// What stands for a size or a place beyond 32 bits.
const WIDE: u64 = u32::MAX as u64;
/// The largest directory.
const DIRECTORY_BYTES_MAX: u64 = 16 << 20;

/// A file in an archive.
#[derive(Debug)]
pub(super) struct ZipEntry {
    pub name: String,
    /// Whether it is deflated, rather than stored.
    pub deflated: bool,
    pub crc: u32,
    /// The size in the archive.
    pub bytes: u64,
    header_at: u64,
}

/// What an archive holds.
#[derive(Debug)]
pub(super) enum ZipContent {
    /// One file.
    One(ZipEntry),
    /// A workbook of Excel.
    Workbook,
}

fn broken() -> Error {
    Error::invalid("is a damaged zip archive; pack it again")
}

fn number(bytes: &[u8], at: usize, length: usize) -> Result<u64> {
    let bytes = bytes.get(at..at + length).ok_or_else(broken)?;
    Ok(bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

fn read_at(file: &mut dyn SeekRead, at: u64, bytes: u64) -> Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
    let mut read = vec![0; usize::try_from(bytes).map_err(|_| broken())?];
    file.read_exact(&mut read).map_err(|_| broken())?;
    Ok(read)
}

/// Finds the only file of an archive. Folders and the notes of macOS do not count.
pub(super) fn content(file: &mut dyn SeekRead) -> Result<ZipContent> {
    let (mut entries, all) = directory(file)?;
    if all.iter().any(|name| name.starts_with("xl/")) {
        return Ok(ZipContent::Workbook);
    }
    let only = entries.pop().filter(|_| entries.is_empty());
    let Some(mut only) = only else {
        let names: Vec<&str> = all.iter().take(5).map(|name| short(name)).collect();
        return Err(Error::invalid(format!(
            "is a zip archive of {} files ({}); one with exactly one file is read, so unpack it and name the files",
            all.len(),
            names.join(", ")
        )));
    };

    let head = read_at(file, only.header_at, 30)?;
    if head[..4] != *MAGIC {
        return Err(broken());
    }
    let skipped = 30 + number(&head, 26, 2)? + number(&head, 28, 2)?;
    only.header_at = only.header_at.checked_add(skipped).ok_or_else(broken)?;
    let begins = SeekFrom::Start(only.header_at);
    file.seek(begins).map_err(unreadable)?;
    Ok(ZipContent::One(only))
}

/// Reads the files of an archive, and all names.
fn directory(file: &mut dyn SeekRead) -> Result<(Vec<ZipEntry>, Vec<String>)> {
    let (at, bytes) = place(file)?;
    if bytes > DIRECTORY_BYTES_MAX {
        return Err(Error::invalid(
            "is a zip archive of too many files; unpack it",
        ));
    }
    let directory = read_at(file, at, bytes)?;
    let (mut entries, mut names) = (Vec::new(), Vec::new());
    let mut rest = &directory[..];
    while rest.len() >= 46 && rest.starts_with(b"PK\x01\x02") {
        let name_bytes = number(rest, 28, 2)? as usize;
        let extra_bytes = number(rest, 30, 2)? as usize;
        let whole = 46 + name_bytes + extra_bytes + number(rest, 32, 2)? as usize;
        let record = rest.get(..whole).ok_or_else(broken)?;
        let name = String::from_utf8_lossy(&record[46..46 + name_bytes]).into_owned();
        let is_file = !name.ends_with('/') && !name.starts_with("__MACOSX/");
        if is_file {
            let extra = &record[46 + name_bytes..46 + name_bytes + extra_bytes];
            entries.push(entry(record, extra, name.clone())?);
            names.push(name);
        }
        rest = &rest[whole..];
    }
    Ok((entries, names))
}

/// Returns where the directory is, and its size.
fn place(file: &mut dyn SeekRead) -> Result<(u64, u64)> {
    let length = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let from = length.saturating_sub(END_BYTES_MAX);
    let tail = read_at(file, from, length - from)?;
    let last = tail.windows(4).rposition(|four| four == b"PK\x05\x06");
    let last = last.ok_or_else(broken)?;
    let (bytes, at) = (number(&tail, last + 12, 4)?, number(&tail, last + 16, 4)?);
    if bytes != WIDE && at != WIDE {
        return Ok((at, bytes));
    }

    // Over 4 GiB: the place is in a record before the last.
    let locator = last.checked_sub(20).ok_or_else(broken)?;
    let end = read_at(file, number(&tail, locator + 8, 8)?, 56)?;
    if !end.starts_with(b"PK\x06\x06") {
        return Err(broken());
    }
    Ok((number(&end, 48, 8)?, number(&end, 40, 8)?))
}

fn entry(record: &[u8], extra: &[u8], name: String) -> Result<ZipEntry> {
    if number(record, 8, 2)? & 1 != 0 {
        return Err(Error::invalid(
            "is an encrypted zip archive; unpack it first",
        ));
    }
    let deflated = match number(record, 10, 2)? {
        0 => false,
        8 => true,
        other => {
            return Err(Error::invalid(format!(
                "is a zip archive packed by method {other}; deflate is read, so pack it again or unpack it"
            )));
        }
    };

    // Sizes beyond 32 bits are in the extra field of type 1, in this order.
    let mut wide = wide_fields(extra)?;
    let mut whole = |at: usize| match number(record, at, 4) {
        Ok(WIDE) => {
            let (first, rest) = wide.split_at_checked(8).ok_or_else(broken)?;
            wide = rest;
            number(first, 0, 8)
        }
        size => size,
    };
    whole(24)?;
    let bytes = whole(20)?;
    Ok(ZipEntry {
        name,
        deflated,
        crc: number(record, 16, 4)? as u32,
        bytes,
        header_at: whole(42)?,
    })
}

/// Returns the content of the extra field of type 1.
fn wide_fields(extra: &[u8]) -> Result<&[u8]> {
    let mut rest = extra;
    while rest.len() >= 4 {
        let bytes = number(rest, 2, 2)? as usize;
        let content = rest.get(4..4 + bytes).ok_or_else(broken)?;
        if number(rest, 0, 2)? == 1 {
            return Ok(content);
        }
        rest = &rest[4 + bytes..];
    }
    Ok(&[])
}
