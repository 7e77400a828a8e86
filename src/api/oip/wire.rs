//! Writes ModelInferResponse with raw contents straight from a response: no message in between, and no
//! copy of large tensors.

use crate::api::unary::answer::{AnswerWriter, PIECE_BYTES_MIN, UnaryAnswer, varint_bytes};
use crate::core::error::Result;
use crate::core::request::Response;
use crate::core::tensor::{Data, Tensor};

// Field numbers of ModelInferResponse and of its InferOutputTensor.
const MODEL_NAME: u32 = 1;
const MODEL_VERSION: u32 = 2;
const ID: u32 = 3;
const OUTPUTS: u32 = 5;
const RAW_OUTPUT_CONTENTS: u32 = 6;
const NAME: u32 = 1;
const DATATYPE: u32 = 2;
const SHAPE: u32 = 3;

/// The most bytes of the start of a field of this message: its number and its length.
const FIELD_START: usize = 6;

/// Writes the answer.
pub(crate) fn encode_raw(response: &Response) -> Result<UnaryAnswer> {
    let mut version = itoa::Buffer::new();
    let version = version.format(response.version.number());
    let mut writer = AnswerWriter::new(room(response));
    writer.field(MODEL_NAME, response.model.as_str().as_bytes());
    writer.field(MODEL_VERSION, version.as_bytes());
    if !response.id.is_empty() {
        writer.field(ID, response.id.as_bytes());
    }

    for (name, tensor) in &response.outputs {
        output(&mut writer, name, tensor);
    }
    for (_, tensor) in &response.outputs {
        match tensor.data() {
            Data::Fixed(bytes) if bytes.len() < PIECE_BYTES_MIN => {
                writer.field(RAW_OUTPUT_CONTENTS, bytes);
            }
            _ => writer.content(RAW_OUTPUT_CONTENTS, tensor.to_raw()),
        }
    }
    writer.finish()
}

/// About how many bytes are written in one piece.
fn room(response: &Response) -> usize {
    let texts = response.model.as_str().len() + response.id.len() + 20 + 3 * FIELD_START;
    let outputs = response.outputs.iter().map(|(name, tensor)| {
        let rank = tensor.shape().len();
        name.len() + 8 + 10 * rank + 4 * FIELD_START
    });
    // What is larger is not copied into it, and what remains is little.
    let tensors = response.outputs.iter();
    let raw = tensors.map(|(_, tensor)| FIELD_START + tensor.bytes().min(PIECE_BYTES_MIN));
    texts + outputs.sum::<usize>() + raw.sum::<usize>()
}

fn output(writer: &mut AnswerWriter, name: &str, tensor: &Tensor) {
    let datatype = tensor.dtype().name();
    let dims = tensor.shape().iter().map(|dim| *dim as u64);
    let dims_bytes: usize = dims.clone().map(varint_bytes).sum();
    let field = |bytes: usize| 1 + varint_bytes(bytes as u64) + bytes;
    let shape = if tensor.shape().is_empty() {
        0
    } else {
        field(dims_bytes)
    };

    writer.open(OUTPUTS, field(name.len()) + field(datatype.len()) + shape);
    writer.field(NAME, name.as_bytes());
    writer.field(DATATYPE, datatype.as_bytes());
    if shape > 0 {
        writer.open(SHAPE, dims_bytes);
        dims.for_each(|dim| writer.varint(dim));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::oip::codec::{self, Contents};
    use crate::core::model::{ModelName, Version};
    use crate::core::request::Timing;
    use crate::core::tensor::Strings;
    use crate::proto::inference::ModelInferResponse;
    use bytes::Bytes;
    use prost::Message;

    #[test]
    fn the_message_is_the_one_that_the_general_encoder_writes() {
        let text = Strings::from_parts(vec![Bytes::from_static("é".as_bytes()), Bytes::new()]);
        let tensors = [
            Tensor::from_f32(vec![2, 1], &[1.5, -2.0]),
            Tensor::from_f32(vec![], &[7.0]),
            Tensor::from_f32(vec![0, 3], &[]),
            Tensor::from_f32(vec![200, 300], &vec![0.25; 60_000]),
            Tensor::strings(vec![2], text.expect("text")),
            Tensor::from_f32(vec![1], &[3.0]),
        ];
        let outputs = tensors.into_iter().enumerate();
        let outputs = outputs.map(|(at, tensor)| {
            let name = "y".repeat(1 + 70 * at);
            (name.as_str().into(), tensor.expect("fits"))
        });
        let outputs: Vec<_> = outputs.collect();
        for (id, count) in [("", 0), ("a-7", 1), ("", 6)] {
            let response = Response {
                model: ModelName::parse("m").expect("legal"),
                version: Version::new(9_007_199).expect("legal"),
                id: id.to_owned(),
                prediction_id: uuid::Uuid::nil(),
                outputs: outputs[..count].to_vec(),
                trace: None,
                timing: Timing::default(),
            };
            let answer = encode_raw(&response).expect("written");
            let mut bytes = answer.first.to_vec();
            answer.rest.iter().for_each(|piece| bytes.extend(piece));
            assert_eq!(answer.rest.is_empty(), count < 6, "large tensors are apart");

            let length = u32::try_from(bytes.len() - 5).expect("small").to_be_bytes();
            assert_eq!(bytes[..5], [&[0][..], &length].concat());
            let read = ModelInferResponse::decode(&bytes[5..]).expect("a message");
            assert_eq!(read, codec::encode(&response, Contents::Raw));
        }
    }
}
