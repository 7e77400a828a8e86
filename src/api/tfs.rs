//! TensorFlow Serving's Predict, status and metadata, over gRPC and REST.

pub(crate) mod codec;
pub(crate) mod examples;
pub(crate) mod grpc;
pub(crate) mod inference;
pub(crate) mod json;
mod reload;
pub(crate) mod rest;
