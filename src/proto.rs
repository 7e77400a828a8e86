//! Generated from `proto/`; nothing else.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    clippy::unwrap_used
)]

/// Open Inference Protocol v2 and its extensions.
pub mod inference {
    tonic::include_proto!("inference");
}

/// The TensorFlow messages of TensorFlow Serving.
pub mod tensorflow {
    tonic::include_proto!("tensorflow");
    /// TensorFlow Serving.
    pub mod serving {
        tonic::include_proto!("tensorflow.serving");
    }
}

/// Labels for predictions.
pub mod feedback {
    tonic::include_proto!("ortus.feedback.v1");
}

/// The operator API.
pub mod operator {
    tonic::include_proto!("ortus.v1");
}

/// OpenTelemetry's spans, trimmed.
pub mod opentelemetry {
    tonic::include_proto!("opentelemetry.proto.collector.trace.v1");
}

/// The ONNX model format, trimmed.
pub mod onnx {
    tonic::include_proto!("onnx");
}

/// The descriptor set of the operator API, for reflection.
pub const OPERATOR_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/operator.bin"));

/// The descriptor set of every wire protocol, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wire.bin"));
