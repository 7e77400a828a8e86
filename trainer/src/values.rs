//! The values of a column: in memory, or, beyond a limit, in a file that is mapped into memory, so that
//! a dataset need not fit. The file has no name and is gone with the values.

#[cfg(test)]
mod tests;

use memmap2::Mmap;
use ortus::core::error::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Values that are written at once, and by which a limit is counted.
const CHUNK: usize = 65_536;
/// Copies of parts of a file larger than this are files too.
const COPY_MAX: usize = 64 << 20;

/// A number whose every pattern of bytes is a value, which has no padding.
pub(crate) trait ByteValue: Copy + Send + Sync + 'static {}
impl ByteValue for f32 {}
impl ByteValue for f64 {}
impl ByteValue for u32 {}

/// Memory that columns share.
#[derive(Debug)]
pub(crate) struct ColumnMemory(AtomicUsize);

impl ColumnMemory {
    /// Starts with so many bytes.
    pub(crate) fn of(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    /// Takes bytes; false if there are not so many.
    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The values of a column.
pub(crate) enum Values<T: ByteValue> {
    Memory(Vec<T>),
    File(MappedValues<T>),
}

/// Values in a file.
pub(crate) struct MappedValues<T> {
    map: Arc<Mmap>,
    count: usize,
    kind: PhantomData<T>,
}

impl<T: ByteValue> Deref for Values<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Memory(all) => all,
            Self::File(mapped) => {
                // SAFETY: the file holds `count` values, written as their bytes; a map begins at a page, which is
                // aligned for any `T`; every pattern of bytes is a value; and nobody else can reach the file.
                unsafe { std::slice::from_raw_parts(mapped.map.as_ptr().cast(), mapped.count) }
            }
        }
    }
}

impl<T: ByteValue> Clone for Values<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Memory(all) => Self::Memory(all.clone()),
            Self::File(MappedValues { map, count, kind }) => Self::File(MappedValues {
                map: map.clone(),
                count: *count,
                kind: *kind,
            }),
        }
    }
}

impl<T: ByteValue> Default for Values<T> {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl<T: ByteValue + fmt::Debug> fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}

impl<T: ByteValue + PartialEq> PartialEq for Values<T> {
    fn eq(&self, other: &Self) -> bool {
        self.deref() == other.deref()
    }
}

impl<T: ByteValue> From<Vec<T>> for Values<T> {
    fn from(all: Vec<T>) -> Self {
        Self::Memory(all)
    }
}

impl<T: ByteValue> FromIterator<T> for Values<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        Self::Memory(all.into_iter().collect())
    }
}

impl<'v, T: ByteValue> IntoIterator for &'v Values<T> {
    type Item = &'v T;
    type IntoIter = std::slice::Iter<'v, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: ByteValue> Values<T> {
    /// Whether they lie in a file.
    fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Returns the memory or the file for as many values as this has, or fewer.
    fn writer<U: ByteValue>(&self, count: usize) -> ValueWriter<U> {
        let is_file = self.is_file() && count * size_of::<U>() > COPY_MAX;
        ValueWriter::new(ColumnMemory::of(if is_file { 0 } else { usize::MAX }))
    }

    /// Converts each value; what lies in a file stays in one.
    pub(crate) fn convert<U: ByteValue>(self, to: impl Fn(T) -> U) -> Result<Values<U>> {
        if let Self::Memory(all) = self {
            return Ok(all.into_iter().map(to).collect());
        }
        let mut converted = self.writer(self.len());
        converted.extend(self.iter().map(|value| to(*value)))?;
        converted.finish()
    }

    /// Adds values, in memory.
    pub(crate) fn append(&mut self, more: &Self) {
        *self = self.iter().chain(more.iter()).copied().collect();
    }

    /// Returns the values at these indices; many of a file are a file again.
    pub(crate) fn take(&self, rows: &[u32]) -> Self {
        let of_rows = || rows.iter().map(|row| self[*row as usize]);
        let mut taken = self.writer(rows.len());
        match taken.extend(of_rows()).and_then(|()| taken.finish()) {
            Ok(taken) => taken,
            // Without room for a file they are held in memory.
            Err(_) => of_rows().collect(),
        }
    }
}

/// Values that are added one after the other.
pub(crate) struct ValueWriter<T: ByteValue> {
    /// All values, or those that are not in the file yet.
    held: Vec<T>,
    file: Option<BufWriter<File>>,
    /// Values in the file.
    written: usize,
    share: Arc<ColumnMemory>,
    /// Bytes taken of the share.
    taken: usize,
}

impl<T: ByteValue> ValueWriter<T> {
    /// Starts without values.
    pub(crate) fn new(share: Arc<ColumnMemory>) -> Self {
        Self {
            held: Vec::new(),
            file: None,
            written: 0,
            share,
            taken: 0,
        }
    }

    /// Adds values.
    pub(crate) fn extend(&mut self, values: impl IntoIterator<Item = T>) -> Result<()> {
        for value in values {
            self.push(value)?;
        }
        Ok(())
    }

    /// Adds a value.
    #[inline]
    pub(crate) fn push(&mut self, value: T) -> Result<()> {
        if self.held.len().is_multiple_of(CHUNK) {
            self.make_room()?;
        }
        self.held.push(value);
        Ok(())
    }

    /// Takes memory for another chunk, or moves what is held into the file.
    fn make_room(&mut self) -> Result<()> {
        let bytes = CHUNK * size_of::<T>();
        if self.file.is_none() && self.share.take(bytes) {
            self.taken += bytes;
            return Ok(());
        }
        self.write_out()
    }

    fn write_out(&mut self) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::with_capacity(
                1 << 20,
                tempfile::tempfile().map_err(full)?,
            )),
        };
        // SAFETY: a `ByteValue` value has no padding, so all its bytes are set.
        let bytes = unsafe {
            std::slice::from_raw_parts(self.held.as_ptr().cast::<u8>(), size_of_val(&self.held[..]))
        };
        file.write_all(bytes).map_err(full)?;
        self.written += self.held.len();
        // What many values took is given back.
        self.held.clear();
        self.held.shrink_to(CHUNK);
        self.share.give_back(std::mem::take(&mut self.taken));
        Ok(())
    }

    /// Returns the values.
    pub(crate) fn finish(mut self) -> Result<Values<T>> {
        if self.file.is_none() {
            let mut held = std::mem::take(&mut self.held);
            held.shrink_to_fit();
            return Ok(Values::Memory(held));
        }
        self.write_out()?;
        let file = self.file.take().map(BufWriter::into_inner);
        let file = file.ok_or_else(|| Error::internal("values without a file"))?;
        let file = file.map_err(|error| full(error.into_error()))?;
        // SAFETY: the file has no name and no other handle, so nobody changes or shortens it.
        let map = unsafe { Mmap::map(&file) }.map_err(full)?;
        Ok(Values::File(MappedValues {
            map: Arc::new(map),
            count: self.written,
            kind: PhantomData,
        }))
    }
}

fn full(error: std::io::Error) -> Error {
    let folder = std::env::temp_dir();
    Error::unavailable(format!(
        "columns cannot be kept in a file of {}; free space there, set TMPDIR, or raise 'columns_memory_max' in [data]",
        folder.display()
    ))
    .with_source(error)
}
