//! What is sent: requests encoded once for one protocol, several inputs in turn,
//! with the check of their answers.
//!
//! A *fresh* request has a first value that no other has, so that a server that
//! keeps answers gains nothing; one in `check_every` requests is sent as it is
//! and its answer compared with the expected one.

use crate::golden::Golden;
use crate::{Result, sample};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::ops::Range;

/// The wires of the Open Inference Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// gRPC with raw contents.
    Grpc,
    /// HTTP/1.1 with binary tensors.
    Binary,
    /// HTTP/1.1 with JSON.
    Json,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Binary => "binary",
            Self::Json => "json",
        }
    }
}

/// The bytes in front of a gRPC message: whether compressed, and its length.
pub(crate) const GRPC_HEAD: usize = 5;
/// Different encodings of the same right answer that are remembered.
const SEEN_MAX: usize = 8;
const HEADER_LENGTH: &str = "Inference-Header-Content-Length";

/// One input and the answer it should get.
pub(crate) struct Input {
    /// The request in the protocol's JSON.
    pub sample: Value,
    pub golden: Option<Golden>,
}

/// What an answer is compared with.
enum Check {
    Nothing,
    Expected(Golden),
    /// The request's own bytes, as a floor answers.
    Echo,
}

/// One encoded request.
struct Variant {
    bytes: Bytes,
    first_value: Option<FirstValue>,
    check: Check,
    /// Answers that were compared in full and are right.
    seen: RefCell<Vec<Bytes>>,
}

/// Where the first value lies in the encoded request.
enum FirstValue {
    Raw(usize),
    Digits(Range<usize>),
}

/// How requests of a set are chosen and checked.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    pub is_fresh: bool,
    /// 1 checks every answer.
    pub check_every: u64,
}

/// Encoded requests of one protocol, sent in turn.
pub(crate) struct RequestSet {
    pub protocol: Protocol,
    pub model: String,
    habits: Habits,
    variants: Vec<Variant>,
}

/// One request to be sent.
pub(crate) struct Shot {
    pub bytes: Bytes,
    variant: usize,
    is_checked: bool,
}

impl RequestSet {
    /// Encodes `inputs` for `model`.
    pub(crate) fn new(
        protocol: Protocol,
        model: &str,
        inputs: Vec<Input>,
        habits: Habits,
    ) -> Result<Self> {
        let encode = |input: Input| -> Result<Variant> {
            let (bytes, first_value) = match protocol {
                Protocol::Grpc => grpc(model, &input.sample)?,
                Protocol::Binary => binary(model, &input.sample)?,
                Protocol::Json => as_json(model, &input.sample)?,
            };
            Ok(Variant {
                bytes,
                first_value,
                check: input.golden.map_or(Check::Nothing, Check::Expected),
                seen: RefCell::default(),
            })
        };
        let variants: Vec<Variant> = inputs.into_iter().map(encode).collect::<Result<_>>()?;
        if variants.is_empty() {
            return Err("there is no request to send".into());
        }
        Ok(Self {
            protocol,
            model: model.to_owned(),
            habits,
            variants,
        })
    }

    /// One request that is encoded already, whose answers are not compared.
    pub(crate) fn encoded(protocol: Protocol, model: &str, bytes: Bytes, habits: Habits) -> Self {
        let variant = Variant {
            bytes,
            first_value: None,
            check: Check::Nothing,
            seen: RefCell::default(),
        };
        Self {
            protocol,
            model: model.to_owned(),
            habits,
            variants: vec![variant],
        }
    }

    /// The same requests, answered by a floor.
    pub(crate) fn echoed(&self) -> Self {
        let echoed = |v: &Variant| Variant {
            bytes: v.bytes.clone(),
            first_value: match &v.first_value {
                Some(FirstValue::Raw(at)) => Some(FirstValue::Raw(*at)),
                Some(FirstValue::Digits(at)) => Some(FirstValue::Digits(at.clone())),
                None => None,
            },
            check: Check::Echo,
            seen: RefCell::default(),
        };
        Self {
            protocol: self.protocol,
            model: self.model.clone(),
            habits: self.habits,
            variants: self.variants.iter().map(echoed).collect(),
        }
    }

    /// Adds the requests of another set of the same protocol: a mix of models.
    pub(crate) fn mixed_with(mut self, other: Self) -> Result<Self> {
        if other.protocol != self.protocol {
            return Err("models are mixed over one protocol".into());
        }
        self.variants.extend(other.variants);
        Ok(self)
    }

    /// The request that is sent as number `n`.
    pub(crate) fn shot(&self, n: u64) -> Shot {
        let every = self.habits.check_every.max(1);
        let mixed = mixed(n);
        let is_checked = mixed.is_multiple_of(every);
        let variant = (mixed / every) as usize % self.variants.len();
        let one = &self.variants[variant];
        let bytes = match &one.first_value {
            Some(place) if self.habits.is_fresh && !is_checked => freshened(&one.bytes, place, n),
            _ => one.bytes.clone(),
        };
        Shot {
            bytes,
            variant,
            is_checked,
        }
    }

    /// Compares the answer to `shot`; says what differs.
    pub(crate) fn check(&self, shot: &Shot, answer: &Bytes) -> Result<(), String> {
        let variant = &self.variants[shot.variant];
        match &variant.check {
            Check::Echo => match *body_of(self.protocol, &shot.bytes) == answer[..] {
                true => Ok(()),
                false => Err("the echo differs from the request".to_owned()),
            },
            Check::Expected(golden) if shot.is_checked => {
                if variant.seen.borrow().contains(answer) {
                    return Ok(());
                }
                match self.protocol {
                    Protocol::Grpc => golden.check_message(&answer[GRPC_HEAD.min(answer.len())..]),
                    Protocol::Binary => golden.check_binary(answer),
                    Protocol::Json => golden.check_json(answer),
                }?;
                let mut seen = variant.seen.borrow_mut();
                if seen.len() < SEEN_MAX {
                    seen.push(answer.clone());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The bytes of the largest request.
    pub(crate) fn bytes_max(&self) -> usize {
        let sizes = self.variants.iter().map(|v| v.bytes.len());
        sizes.max().unwrap_or_default()
    }
}

/// A number without pattern in place of `n`, so that faults at regular intervals
/// do not fall between the checked requests. 0 stays 0, and is always checked.
fn mixed(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

/// The part of a request that a floor sends back.
fn body_of(protocol: Protocol, request: &[u8]) -> &[u8] {
    if protocol == Protocol::Grpc {
        return request;
    }
    let end = request.windows(4).position(|w| w == b"\r\n\r\n");
    &request[end.map_or(0, |at| at + 4)..]
}

/// The request with a first value that only number `n` has.
fn freshened(bytes: &Bytes, place: &FirstValue, n: u64) -> Bytes {
    let mut fresh = BytesMut::from(&bytes[..]);
    match place {
        FirstValue::Raw(at) => {
            // 2^23 different values in [1, 2).
            let bits = 0x3F80_0000 | (n as u32 & 0x007F_FFFF);
            fresh[*at..*at + 4].copy_from_slice(&bits.to_le_bytes());
        }
        FirstValue::Digits(at) => {
            let mut rest = n;
            for digit in fresh[at.clone()].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }
    fresh.freeze()
}

fn grpc(model: &str, sample: &Value) -> Result<(Bytes, Option<FirstValue>)> {
    let request = sample::request(model, sample)?;
    let mut frame = BytesMut::with_capacity(GRPC_HEAD + request.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(request.encoded_len())?);
    request.encode(&mut frame)?;
    // The raw contents are the last field of the message.
    let is_simple = request.inputs.len() == 1 && request.inputs[0].datatype == "FP32";
    let raw = request.raw_input_contents.last().map_or(0, Bytes::len);
    let place = (is_simple && raw >= 4).then(|| FirstValue::Raw(frame.len() - raw));
    Ok((frame.freeze(), place))
}

fn binary(model: &str, sample: &Value) -> Result<(Bytes, Option<FirstValue>)> {
    let request = sample::request(model, sample)?;
    let described = request.inputs.iter().zip(&request.raw_input_contents);
    let inputs: Vec<Value> = described
        .map(|(input, raw)| {
            json!({"name": input.name, "shape": input.shape, "datatype": input.datatype,
                   "parameters": {"binary_data_size": raw.len()}})
        })
        .collect();
    let mut parameters = sample["parameters"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    parameters.insert("binary_data_output".to_owned(), true.into());
    let described = json!({"parameters": parameters, "inputs": inputs}).to_string();
    let mut body = described.clone().into_bytes();
    let tensors = body.len();
    request
        .raw_input_contents
        .iter()
        .for_each(|raw| body.extend(raw));
    let is_simple = request.inputs.len() == 1 && request.inputs[0].datatype == "FP32";
    let headers = format!(
        "Content-Type: application/octet-stream\r\n{HEADER_LENGTH}: {}\r\n",
        described.len()
    );
    let (bytes, head) = post(model, &headers, &body);
    let place = (is_simple && body.len() >= tensors + 4).then(|| FirstValue::Raw(head + tensors));
    Ok((bytes, place))
}

fn as_json(model: &str, sample: &Value) -> Result<(Bytes, Option<FirstValue>)> {
    let body = serde_json::to_vec(sample)?;
    let digits = fraction(&body);
    let (bytes, head) = post(model, "Content-Type: application/json\r\n", &body);
    let place = digits.map(|at| FirstValue::Digits(at.start + head..at.end + head));
    Ok((bytes, place))
}

/// The digits after the point of the first number of the first tensor.
fn fraction(body: &[u8]) -> Option<Range<usize>> {
    const DATA: &[u8] = b"\"data\":";
    let data = body.windows(DATA.len()).position(|w| w == DATA)? + DATA.len();
    let number = data
        + body[data..]
            .iter()
            .position(|b| b"-0123456789".contains(b))?;
    let is_part = |b: &u8| b"-+.eE0123456789".contains(b);
    let end = number + body[number..].iter().position(|b| !is_part(b))?;
    let point = number + body[number..end].iter().position(|b| *b == b'.')?;
    let has_exponent = body[number..end].iter().any(|b| b"eE".contains(b));
    // Fewer digits do not tell enough requests apart.
    (!has_exponent && end - point > 5).then_some(point + 1..end)
}

/// A POST for `model`, and the length of its head. The client adds the deadline.
fn post(model: &str, headers: &str, body: &[u8]) -> (Bytes, usize) {
    let head = format!(
        "POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let length = head.len();
    (Bytes::from([head.as_bytes(), body].concat()), length)
}

#[cfg(test)]
mod tests;
