//! Ortus serves ONNX models over gRPC and HTTP. This file is the map, in
//! reading order: each wing may import only wings above it. ARCHITECTURE.md
//! explains it; `tests/it/tidy.rs` holds the rule.

pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod core;
pub mod explain;
pub mod observe;
pub mod onnx;
#[allow(missing_docs, reason = "generated from proto/")]
pub mod proto;
pub mod registry;
pub mod sandbox;
pub mod serve;
pub mod storage;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
