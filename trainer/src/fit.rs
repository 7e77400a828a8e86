//! The training algorithms.

pub(crate) mod bins;
pub(crate) mod encode;
mod large_bytes;
pub(crate) mod linear;
pub(crate) mod mlp;
mod prefetch;
pub(crate) mod trees;
