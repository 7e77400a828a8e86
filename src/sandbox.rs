//! Processes with limits on memory, CPU time and file size, which end with
//! their parent.
//!
//! May import `core`. Knows nothing of ONNX.

pub mod limits;
