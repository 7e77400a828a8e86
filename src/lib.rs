//! Ortus serves ONNX models over gRPC and HTTP. This file is the map, in
//! reading order; ARCHITECTURE.md explains it.

// Vocabulary: plain data.
pub(crate) mod error;
pub(crate) mod model;
pub(crate) mod request;
pub(crate) mod tensor;

// Mechanisms: each knows the vocabulary.
pub(crate) mod batch;
pub(crate) mod metrics;
pub(crate) mod proto;
pub(crate) mod runtime;
