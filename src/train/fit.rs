//! Algorithms that learn from rows.

pub(crate) mod bins;
pub(crate) mod linear;
pub(crate) mod trees;
