//! Ortus serves ONNX models over gRPC and HTTP. This file is the map, in
//! reading order: each wing may import only wings above it. ARCHITECTURE.md
//! explains it; `tests/it/tidy.rs` holds the rule.

#[macro_use]
pub(crate) mod config;
pub(crate) mod api;
pub(crate) mod app;
pub mod cli;
pub(crate) mod client;
pub(crate) mod core;
pub(crate) mod observe;
pub(crate) mod onnx;
#[allow(missing_docs, reason = "generated from proto/")]
pub(crate) mod proto;
pub(crate) mod registry;
pub(crate) mod sandbox;
pub(crate) mod serve;
pub(crate) mod storage;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(feature = "train")]
pub mod train;
