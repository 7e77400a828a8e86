//! System shared memory, an extension of Triton: a client on the same machine registers a region of POSIX shared
//! memory, and requests name a part of it in the place of a tensor. Regions are read and written like files and are not
//! mapped: a region that its owner shrinks is an error of one request, where a mapping would end the
//! process, and a tensor that was read does not change while it is served.

#[cfg(test)]
mod tests;

use crate::api::limits::Limits;
use crate::core::error::{Error, Result, short};
use crate::core::tensor::{DType, Tensor, check_bytes, elements};
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs;
use rustix::shm::{self, Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most regions that are registered at a time.
const REGIONS_MAX: usize = 1_000;
/// The longest name of a region, and of its key.
const NAME_BYTES_MAX: usize = 255;

/// The regions that clients registered.
pub(crate) struct Regions {
    is_on: bool,
    /// The most bytes of tensors that were read from regions and are in use.
    bytes_max: usize,
    in_use: Arc<AtomicUsize>,
    all: Mutex<BTreeMap<String, Arc<Region>>>,
}

/// A registered region.
#[derive(Debug)]
pub(crate) struct Region {
    pub name: String,
    /// The name of the shared memory object.
    pub key: String,
    /// Where the region begins in it.
    pub offset: u64,
    pub bytes: u64,
    file: File,
}

/// A part of a region, in the place of a tensor.
#[derive(Clone, Debug)]
pub(crate) struct RegionPart {
    pub region: Arc<Region>,
    /// Where it begins in the region.
    pub offset: u64,
    pub bytes: u64,
    in_use: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// Compared where a wish for an output is compared with none.
impl PartialEq for RegionPart {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.region, &other.region)
            && (self.offset, self.bytes) == (other.offset, other.bytes)
    }
}

impl Regions {
    /// Starts without regions. If it is off, none can be registered.
    pub(crate) fn new(is_on: bool, limits: &Limits) -> Self {
        Self::within(is_on, limits.bytes_in_flight_max)
    }

    fn within(is_on: bool, bytes_max: usize) -> Self {
        Self {
            is_on,
            bytes_max,
            in_use: Arc::default(),
            all: Mutex::default(),
        }
    }

    /// Takes no regions.
    pub(crate) fn off() -> Self {
        Self::within(false, 0)
    }

    /// Tells whether clients may use it.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    fn check_on(&self) -> Result<()> {
        match self.is_on {
            true => Ok(()),
            false => Err(Error::unimplemented(
                "shared memory is off on this server; start it with server.shared_memory = true",
            )),
        }
    }

    /// Opens a region. Refuses a name that is registered, and one that is not wholly in its object.
    pub(crate) fn register(&self, name: &str, key: &str, offset: u64, bytes: u64) -> Result<()> {
        self.check_on()?;
        let invalid = |why: &str| {
            Error::invalid(format!(
                "shared memory region '{}', key '{}': {why}",
                short(name),
                short(key)
            ))
        };
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
            return Err(invalid(
                "the name must have 1 to 255 bytes and no control characters",
            ));
        }
        let object = key.strip_prefix('/').unwrap_or(key);
        let is_legal = !matches!(object, "" | "." | "..")
            && object.len() <= NAME_BYTES_MAX
            && !object.contains(['/', '\0']);
        if !is_legal {
            return Err(invalid(
                "the key must be the name of a shared memory object, such as /input",
            ));
        }

        let file = open(object).map_err(|e| invalid("it cannot be opened").with_source(e))?;
        let length = file
            .metadata()
            .map_err(|e| invalid("it cannot be inspected").with_source(e))?
            .len();
        if bytes == 0 || offset.checked_add(bytes).is_none_or(|end| end > length) {
            return Err(invalid(&format!(
                "{bytes} bytes from {offset} on are not in the {length} bytes of the object"
            )));
        }

        let mut all = self.all.lock();
        if all.contains_key(name) {
            return Err(invalid(
                "the name is registered already; unregister it first",
            ));
        }
        if all.len() >= REGIONS_MAX {
            return Err(Error::overloaded(format!(
                "{REGIONS_MAX} shared memory regions are registered; unregister some"
            )));
        }
        let region = Region {
            name: name.to_owned(),
            key: key.to_owned(),
            offset,
            bytes,
            file,
        };
        all.insert(name.to_owned(), Arc::new(region));
        Ok(())
    }

    /// Forgets a region, or all if the name is empty. Requests that use it go on.
    pub(crate) fn unregister(&self, name: &str) -> Result<()> {
        self.check_on()?;
        let mut all = self.all.lock();
        match name {
            "" => all.clear(),
            name => drop(all.remove(name)),
        }
        Ok(())
    }

    /// Returns a region, or all if the name is empty.
    pub(crate) fn status(&self, name: &str) -> Result<Vec<Arc<Region>>> {
        self.check_on()?;
        match name {
            "" => Ok(self.all.lock().values().cloned().collect()),
            name => Ok(vec![self.find(name)?]),
        }
    }

    /// Finds a part of a region.
    pub(crate) fn part(&self, name: &str, offset: u64, bytes: u64) -> Result<RegionPart> {
        self.check_on()?;
        let region = self.find(name)?;
        if offset
            .checked_add(bytes)
            .is_none_or(|end| end > region.bytes)
        {
            return Err(Error::invalid(format!(
                "{bytes} bytes from {offset} on are not in shared memory region '{}' of {} bytes",
                short(name),
                region.bytes
            )));
        }
        Ok(RegionPart {
            region,
            offset,
            bytes,
            in_use: Arc::clone(&self.in_use),
            bytes_max: self.bytes_max,
        })
    }

    fn find(&self, name: &str) -> Result<Arc<Region>> {
        let found = self.all.lock().get(name).cloned();
        found.ok_or_else(|| {
            Error::not_found(format!(
                "unable to find shared memory region '{}'; register it first",
                short(name)
            ))
        })
    }
}

/// Opens a shared memory object, to write if that is allowed. It must be one itself: no link, which could lead to
/// any file, and no folder.
fn open(object: &str) -> std::io::Result<File> {
    // Closed where this program starts another one.
    let itself = OFlags::from_bits_retain(fs::OFlags::NOFOLLOW.bits());
    let open = |how| shm::open(object, how | itself, Mode::empty());
    let file = File::from(open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY))?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::other("it is no shared memory object")),
    }
}

impl RegionPart {
    /// Copies what is there as a tensor. What cannot be one is not copied.
    pub(crate) fn tensor(&self, dtype: DType, shape: Vec<usize>) -> Result<Tensor> {
        match dtype {
            DType::String => {
                // Each string has its length before it.
                let least = elements(&shape).and_then(|n| n.checked_mul(4));
                if least.is_none_or(|least| least as u64 > self.bytes) {
                    return Err(Error::invalid(format!(
                        "shape {shape:?} of BYTES takes more than the {} bytes of its part of shared memory region '{}'",
                        self.bytes,
                        short(&self.region.name)
                    )));
                }
            }
            _ => check_bytes(dtype, &shape, self.bytes)?,
        }
        Tensor::from_raw(dtype, shape, self.read()?)
    }

    /// Copies what is there.
    fn read(&self) -> Result<Bytes> {
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let charge = RegionCharge {
            bytes,
            in_use: Arc::clone(&self.in_use),
        };
        let before = self.in_use.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.bytes_max {
            return Err(Error::overloaded(format!(
                "tensors from shared memory are over the limit of {} bytes; retry",
                self.bytes_max
            )));
        }

        let mut copy = vec![0; bytes];
        let at = self.region.offset + self.offset;
        self.region
            .file
            .read_exact_at(&mut copy, at)
            .map_err(|e| self.failed("cannot be read; was it shrunk?", e))?;
        Ok(Bytes::from_owner(RegionCopy {
            copy,
            _charge: charge,
        }))
    }

    /// Writes a tensor's raw form at the begin.
    pub(crate) fn write(&self, raw: &[u8]) -> Result<()> {
        if raw.len() as u64 > self.bytes {
            return Err(Error::invalid(format!(
                "takes {} bytes, its part of shared memory region '{}' has {}",
                raw.len(),
                short(&self.region.name),
                self.bytes
            )));
        }

        let at = self.region.offset + self.offset;
        let length = self.region.file.metadata().map(|meta| meta.len());
        // Writing beyond the end would lengthen what its owner shrank.
        match length {
            Ok(length) if at + raw.len() as u64 <= length => {}
            Ok(_) => {
                let shrunk = std::io::Error::other("it is shorter than when it was registered");
                return Err(self.failed("cannot be written", shrunk));
            }
            Err(e) => return Err(self.failed("cannot be inspected", e)),
        }
        self.region
            .file
            .write_all_at(raw, at)
            .map_err(|e| self.failed("cannot be written", e))
    }

    fn failed(&self, what: &str, cause: std::io::Error) -> Error {
        let name = short(&self.region.name);
        Error::invalid(format!("shared memory region '{name}' {what}")).with_source(cause)
    }
}

/// A tensor that was read from a region.
struct RegionCopy {
    copy: Vec<u8>,
    _charge: RegionCharge,
}

impl AsRef<[u8]> for RegionCopy {
    fn as_ref(&self) -> &[u8] {
        &self.copy
    }
}

/// Bytes that count until they are dropped.
struct RegionCharge {
    bytes: usize,
    in_use: Arc<AtomicUsize>,
}

impl Drop for RegionCharge {
    fn drop(&mut self) {
        self.in_use.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
