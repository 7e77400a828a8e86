//! JSON bodies, for the benchmarks: those that Python writes, and their tensors read and written.

use crate::core::tensor::json::document::read_body;
use crate::core::tensor::json::elements::{ElementRules, Elements};
use crate::core::tensor::json::write_elements;
use crate::core::tensor::{DType, Tensor};
use bytes::Bytes;

/// The shape of each tensor.
const SHAPE: [usize; 4] = [1, 3, 224, 224];

/// An infer request with one tensor of `[1, 3, 224, 224]`.
pub struct JsonBody {
    /// What the elements look like.
    pub what: &'static str,
    /// The request.
    pub body: Bytes,
    /// The array of the elements in it.
    pub array: String,
    dtype: DType,
}

impl JsonBody {
    /// Bodies of numbers and of strings, with the space that Python's `json` puts after a comma.
    pub fn all() -> Vec<Self> {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };

        let values: Vec<f64> = (0..SHAPE.iter().product()).map(|_| random()).collect();
        let body = |what, dtype, text: fn(f64) -> String| {
            Self::new(what, dtype, values.iter().map(|v| text(*v)).collect())
        };
        vec![
            body("FP32, 4 digits", DType::F32, |v| {
                format!("{}", (v * 1e4).round() / 1e4)
            }),
            body("FP32, 17 digits", DType::F32, |v| format!("{v}")),
            body("FP64, 17 digits", DType::F64, |v| format!("{v}")),
            body("FP32, 0 to 255", DType::F32, |v| {
                format!("{}", (v * 256.0) as u8)
            }),
            body("UINT8, 0 to 255", DType::U8, |v| {
                format!("{}", (v * 256.0) as u8)
            }),
            body("BYTES, words", DType::String, |v| {
                format!("\"word {}\"", (v * 1e6) as u32)
            }),
        ]
    }

    fn new(what: &'static str, dtype: DType, elements: Vec<String>) -> Self {
        let array = format!("[{}]", elements.join(", "));
        let body = format!(
            r#"{{"inputs": [{{"name": "x", "shape": {SHAPE:?}, "datatype": "{dtype}", "data": {array}}}]}}"#
        );

        Self {
            what,
            body: body.into(),
            array,
            dtype,
        }
    }

    /// Reads the tensor as the server does.
    pub fn read(&self) -> Tensor {
        let rules = ElementRules {
            dtype: self.dtype,
            depth_max: SHAPE.len(),
            count: SHAPE.iter().product(),
            base64: false,
        };
        let tensor = read_body(&self.body, |request| {
            let [inputs] = request.fields("the request", ["inputs"])?;
            let mut inputs = inputs.expect("given").array("inputs")?;
            let [data] = inputs.next().expect("one").fields("it", ["data"])?;
            Elements::of(data.expect("given"), rules)?.into_tensor(SHAPE.to_vec())
        });
        tensor.expect("a valid request")
    }
}

/// Writes the elements of a tensor as the server does.
pub fn written(tensor: &Tensor) -> Vec<u8> {
    let mut out = Vec::new();
    write_elements(&mut out, tensor, false);
    out
}
