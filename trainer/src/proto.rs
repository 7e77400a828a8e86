//! The ONNX model format, as far as the trainer writes it: generated from
//! `proto/onnx/export.proto`.
#![allow(missing_docs, clippy::all)]

pub(crate) mod onnx_export {
    include!(concat!(env!("OUT_DIR"), "/onnx.export.rs"));
}
