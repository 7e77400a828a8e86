//! What tests and benchmarks share: small ONNX models made in place, and the
//! ONNX Runtime library of this machine.

pub mod counting;
pub mod graphs;

pub use crate::registry::commands::conformance;
pub use crate::registry::commands::conformance::many_models;

use crate::onnx::runtime::library;
use crate::onnx::runtime::onnx::OnnxRuntime;

/// Loads the library of this machine, downloaded where it is not there yet.
pub fn engine() -> OnnxRuntime {
    let path = library::locate(None, false, &|_| {}).expect("an ONNX Runtime");
    OnnxRuntime::load(&path).expect("loads")
}
