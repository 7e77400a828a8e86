//! How much memory a version takes: by how much the server grew while it was loaded, and at least its
//! weights. An estimate: requests that run meanwhile, and versions that end, change the server too.

use crate::onnx::first_run::{external_bytes, resident_bytes};
use crate::registry::directory::Loaded;

/// The memory of the server before a version is loaded.
pub(super) struct MemoryBefore(u64);

impl MemoryBefore {
    /// Measures it now.
    pub(super) fn now() -> Self {
        Self(resident_bytes())
    }

    /// Estimates the memory of a version that was loaded since then.
    pub(super) fn estimate(&self, weights: u64) -> u64 {
        resident_bytes().saturating_sub(self.0).max(weights)
    }
}

/// Bytes of a model and its external data.
pub(super) fn weights(loaded: &Loaded) -> u64 {
    loaded.bytes.len() as u64 + external_bytes(loaded.external_dir.as_deref())
}
