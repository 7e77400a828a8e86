//! Measures a request when it arrives: its rows, its length where requests are padded, and the class of requests that
//! it can be merged with.

use super::Batcher;
use super::queue::Class;
use crate::core::error::{Error, Result};
use crate::core::model::optional::CheckedInputs;
use crate::core::model::padding::RequestLength;
use crate::core::tensor::Tensor;
use std::sync::atomic::Ordering;

/// What matters of a request to its batch.
pub(super) struct MeasuredRequest {
    pub(super) rows: usize,
    pub(super) class: Class,
    /// Its length, while requests are padded.
    pub(super) length: Option<RequestLength>,
}

impl MeasuredRequest {
    /// One that is merged with no other because of its class.
    fn alone(rows: usize, class: Class) -> Self {
        Self {
            rows,
            class,
            length: None,
        }
    }
}

impl Batcher {
    /// Returns the rows and the length of a request, and the class of requests that it can be merged with.
    pub(super) fn measure(&self, checked: &CheckedInputs) -> Result<MeasuredRequest> {
        let options = &self.shared.options;
        if !options.batched {
            return Ok(MeasuredRequest::alone(1, Class::default()));
        }
        if self.holds_merging() {
            let number = self.shared.alone.fetch_add(1, Ordering::Relaxed);
            return Ok(MeasuredRequest::alone(1, Class::Alone(number)));
        }
        let inputs = &checked.required;
        let rows = inputs.first().and_then(Tensor::rows).unwrap_or(1);
        if let Some(odd) = inputs.iter().position(|t| t.rows() != Some(rows)) {
            return Err(Error::invalid(format!(
                "the inputs of a batched model need equal numbers of rows; {} has {}, {} has {rows}",
                options.inputs.input(odd),
                inputs[odd].rows().unwrap_or(0),
                options.inputs.input(0),
            )));
        }

        if rows > options.batch_rows_max {
            return Err(Error::invalid(format!(
                "the request has {rows} rows; the model accepts at most {} (max_batch_size of config.pbtxt, or batch_rows_max); \
                 send fewer, or raise the setting",
                options.batch_rows_max
            )));
        }

        // An optional input is a value for the whole run: other requests would get it too.
        if !checked.optional.is_empty() || rows > options.merged_rows_max() {
            let number = self.shared.alone.fetch_add(1, Ordering::Relaxed);
            return Ok(MeasuredRequest::alone(rows, Class::Alone(number)));
        }
        let padder = &self.shared.padder;
        let length = padder.measure(inputs);
        Ok(MeasuredRequest {
            rows,
            class: Class::Sizes(padder.sizes(inputs, length)),
            length,
        })
    }
}
