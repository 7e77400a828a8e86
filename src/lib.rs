//! Ortus serves ONNX models over gRPC and HTTP. This file is the map, in
//! reading order; ARCHITECTURE.md explains it.

// Vocabulary: plain data.
pub(crate) mod error;
pub(crate) mod model;
pub(crate) mod request;
pub(crate) mod tensor;

// Mechanisms: each knows the vocabulary.
pub(crate) mod batch;
pub(crate) mod capture;
pub(crate) mod client;
pub(crate) mod elements;
pub(crate) mod feedback;
pub(crate) mod golden;
pub(crate) mod graph;
pub(crate) mod metrics;
pub(crate) mod monitor;
pub(crate) mod page;
pub(crate) mod probe;
pub(crate) mod proto;
pub(crate) mod records;
pub(crate) mod registry;
pub(crate) mod runtime;
pub(crate) mod store;
pub(crate) mod table;
pub(crate) mod traces;
pub(crate) mod windows;

// Serving.
pub(crate) mod manager;
pub(crate) mod operate;
pub(crate) mod predict;
pub(crate) mod route;
pub(crate) mod servable;
pub(crate) mod shadow;

// Front ends.
pub(crate) mod api;
pub mod cli;

// Composition.
pub(crate) mod app;
#[macro_use]
pub(crate) mod config;
pub(crate) mod logging;

// Offline: nothing of it is part of a server.
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(feature = "train")]
pub mod train;
