//! Everything that knows ONNX or ONNX Runtime.
//!
//! Entry points: [`graph`] (reads a model file in safe Rust), [`runtime`]
//! (sessions, execution providers, the library itself), [`batchability`]
//! and [`rows`] (whether requests may be merged into one run), [`golden`] (stored inputs
//! with their expected outputs), [`first_run`] (the sandboxed first execution).
//!
//! May import `core`, `proto` and `sandbox`.

pub(crate) mod batchability;
pub mod first_run;
pub mod golden;
pub mod graph;
pub(crate) mod rows;
pub mod runtime;
