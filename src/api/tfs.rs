//! TensorFlow Serving's Predict, status and metadata, over gRPC and REST.

pub(crate) mod codec;
pub(crate) mod grpc;
pub(crate) mod json;
pub(crate) mod rest;
