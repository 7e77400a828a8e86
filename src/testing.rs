//! What tests and benchmarks share: small ONNX models made in place, the ONNX
//! Runtime library of this machine, a runtime, empty records, and the data path without listeners.

pub mod counting;
pub mod data_path;
pub mod fuzzed;
pub mod graphs;
pub mod json_bodies;
pub mod ragged;
pub mod wire_client;

pub use crate::registry::commands::conformance;
pub use crate::registry::commands::conformance::many_models;

use crate::api::tables::{TableLimits, TableSchema};
use crate::core::model::columns::InputColumns;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::DType;
use crate::onnx::runtime::library;
use crate::onnx::runtime::onnx::OnnxRuntime;
use crate::storage::layout::Records;

/// Loads the library of this machine, which is downloaded where it is not there yet.
pub fn engine() -> OnnxRuntime {
    let library = library::locate(None, false, &|_| {}).expect("an ONNX Runtime");
    OnnxRuntime::load(&library).expect("loads")
}

/// Runs `work` to its end on a runtime of its own.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}

/// Runs `work` with empty records, in a folder that is deleted afterwards.
pub fn with_records<T>(work: impl AsyncFnOnce(Records) -> T) -> T {
    let folder = tempfile::tempdir().expect("a folder");
    block_on(async {
        let records = Records::open(&folder.path().display().to_string(), "default");
        work(records.expect("opens")).await
    })
}

/// What a table has to give, without limits.
pub(crate) fn table_schema<'s>(
    signature: &'s Signature,
    columns: &'s InputColumns,
) -> TableSchema<'s> {
    TableSchema {
        signature,
        columns,
        limits: TableLimits {
            rows_max: None,
            bytes_max: usize::MAX,
            shared_bytes_max: usize::MAX,
        },
    }
}

/// Describes a tensor with the dimensions of the wire: -1 is dynamic.
pub fn tensor_spec(name: &str, dtype: DType, dims: &[i64]) -> TensorSpec {
    let dim = |d: &i64| usize::try_from(*d).map_or(Dim::Dynamic, Dim::Fixed);
    TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(dims.iter().map(dim).collect()),
    }
}
