//! Open Inference Protocol v2, over gRPC and REST.

pub(crate) mod codec;
pub(crate) mod describe;
pub(crate) mod grpc;
pub(crate) mod json;
pub(crate) mod rest;
