//! The ONNX model format, as far as the trainer writes it: generated from
//! `proto/onnx/export.proto`.
// The generated types are public in a private module.
#![allow(missing_docs, unreachable_pub, clippy::all)]

pub(crate) mod onnx_export {
    include!(concat!(env!("OUT_DIR"), "/onnx.export.rs"));
}
