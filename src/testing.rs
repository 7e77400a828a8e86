//! The narrow face of the internals that tests call: the wire messages, and the
//! library an in-process reference run needs.

pub use crate::proto::inference;
pub use crate::proto::tensorflow;
