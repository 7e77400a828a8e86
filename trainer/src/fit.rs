//! The training algorithms.

pub(crate) mod bins;
pub(crate) mod encode;
pub(crate) mod linear;
pub(crate) mod mlp;
mod prefetch;
pub(crate) mod trees;
