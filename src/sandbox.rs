//! Processes with limits: their start, limits on memory, CPU time and file
//! size, a timeout, bounded output, and an end that leaves nothing running.
//!
//! May import `core`. Entry points: [`supervise::exchange`] for a program of
//! ours that answers one request, [`supervise::Supervised`] for a program of
//! others. Knows nothing of ONNX or of training.

pub mod limits;
pub mod output;
pub mod supervise;
pub mod tree;
