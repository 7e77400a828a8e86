//! Many bytes that are read here and there: in large pages where the system gives them, because looking up small ones
//! takes longer than reading.

#[cfg(test)]
mod tests;

use memmap2::{Advice, MmapMut};
use std::ops::{Deref, DerefMut};

/// Fewer bytes are as fast in small pages.
const LARGE: usize = 4 << 20;

/// Bytes that do not move.
pub(crate) enum LargeBytes {
    Small(Vec<u8>),
    Large(MmapMut),
}

impl LargeBytes {
    /// Returns bytes that are 0.
    pub(crate) fn zeros(count: usize) -> Self {
        let mapped = (count >= LARGE).then(|| MmapMut::map_anon(count));
        let Some(Ok(map)) = mapped else {
            return Self::Small(vec![0; count]);
        };
        // A system without large pages has the others.
        #[cfg(target_os = "linux")]
        let _ = map.advise(Advice::HugePage);
        Self::Large(map)
    }
}

impl Deref for LargeBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(map) => map,
        }
    }
}

impl DerefMut for LargeBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(map) => map,
        }
    }
}
