//! The training algorithms.

pub(crate) mod bins;
pub(crate) mod encode;
pub(crate) mod linear;
pub(crate) mod mlp;
pub(crate) mod trees;
