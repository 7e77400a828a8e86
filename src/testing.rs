//! The narrow face of the internals that tests call: the wire messages, and
//! small ONNX models made in place.

pub mod counting;
pub mod graphs;

pub use crate::proto::feedback;
pub use crate::proto::inference;
pub use crate::proto::onnx;
pub use crate::proto::opentelemetry;
pub use crate::proto::operator;
pub use crate::proto::tensorflow;
pub use crate::registry::commands::conformance;
pub use crate::registry::commands::conformance::many_models;
