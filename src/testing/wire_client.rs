//! A client that does as little as possible: it sends requests that were encoded before, and reads
//! answers no further than it must to count them.

use crate::proto::inference::ModelInferRequest;
use crate::proto::inference::model_infer_request::InferInputTensor;
use prost::Message;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// What a client of HTTP/2 sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Types of frames.
pub const DATA: u8 = 0;
/// Opens a stream.
pub const HEADERS: u8 = 1;
/// Sets parameters.
pub const SETTINGS: u8 = 4;
/// Allows the server to send more.
pub const WINDOW_UPDATE: u8 = 8;
/// The flag of the last frame of a stream; of SETTINGS, that it acknowledges.
pub const END_STREAM: u8 = 1;
/// The flag of HEADERS without a continuation.
pub const END_HEADERS: u8 = 4;

const FRAME_HEAD_BYTES: usize = 9;

/// Writes a frame of HTTP/2.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Writes a message of gRPC, with its prefix.
pub fn message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], body].concat()
}

/// Writes a ModelInfer request with one row of FP32, as raw contents.
pub fn infer(model: &str, row: &[f32]) -> Vec<u8> {
    let request = ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![InferInputTensor {
            name: "x".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, row.len() as i64],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![raw(row).into()],
        ..ModelInferRequest::default()
    };
    request.encode_to_vec()
}

fn raw(row: &[f32]) -> Vec<u8> {
    row.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The headers of a call: literals that the server adds to its dynamic table.
pub fn call_headers(path: &str) -> Vec<u8> {
    // :method POST, :scheme http, and :path by name.
    let mut block = vec![0x83, 0x86, 0x44];
    add_text(&mut block, path);
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        block.push(0x40);
        add_text(&mut block, name);
        add_text(&mut block, value);
    }
    block
}

fn add_text(block: &mut Vec<u8>, text: &str) {
    block.push(u8::try_from(text.len()).expect("a short text"));
    block.extend_from_slice(text.as_bytes());
}

/// The same headers once the server has them in its table: the last one added is the first.
const KNOWN_HEADERS: [u8; 5] = [0x83, 0x86, 0x80 + 64, 0x80 + 63, 0x80 + 62];

/// A request that is sent again and again.
pub enum WireCall {
    /// The message of a call of gRPC, with its prefix.
    Grpc(Vec<u8>),
    /// The whole request of HTTP/1.
    Http1(Vec<u8>),
}

impl WireCall {
    /// ModelInfer with raw contents.
    pub fn grpc(model: &str, row: &[f32]) -> Self {
        Self::Grpc(message(&infer(model, row)))
    }

    /// An infer request whose inputs and outputs are binary.
    pub fn http_binary(model: &str, row: &[f32]) -> Self {
        let (width, raw) = (row.len(), raw(row));
        let size = raw.len();
        let json = format!(
            r#"{{"inputs":[{{"name":"x","shape":[1,{width}],"datatype":"FP32","parameters":{{"binary_data_size":{size}}}}}],"parameters":{{"binary_data_output":true}}}}"#
        );
        let header = format!("inference-header-content-length: {}\r\n", json.len());
        Self::http1(model, &header, &[json.as_bytes(), &raw].concat())
    }

    /// An infer request in JSON.
    pub fn http_json(model: &str, row: &[f32]) -> Self {
        let width = row.len();
        let json = format!(
            r#"{{"inputs":[{{"name":"x","shape":[1,{width}],"datatype":"FP32","data":{row:?}}}]}}"#
        );
        Self::http1(model, "", json.as_bytes())
    }

    fn http1(model: &str, headers: &str, body: &[u8]) -> Self {
        let length = body.len();
        let head = format!(
            "POST /v2/models/{model}/infer HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        Self::Http1([head.as_bytes(), body].concat())
    }
}

/// One connection.
pub struct WireClient {
    socket: UnixStream,
    call: WireCall,
    /// The next stream of HTTP/2.
    stream: u32,
    /// What was read and not yet counted.
    unread: Vec<u8>,
}

/// Answers that arrived.
#[derive(Default)]
struct Arrival {
    /// Complete ones.
    whole: usize,
    /// Those with content.
    filled: usize,
    /// The server's parameters.
    settings: usize,
}

impl WireClient {
    /// Opens the connection over HTTP/2, if the call is of gRPC.
    pub fn open(socket: UnixStream, call: WireCall) -> Self {
        let mut client = Self {
            socket,
            call,
            stream: 1,
            unread: Vec::new(),
        };
        if let WireCall::Grpc(_) = client.call {
            client.open_http2();
        }
        client
    }

    fn open_http2(&mut self) {
        let all = (u32::MAX >> 1) - u32::from(u16::MAX);
        let room = frame(WINDOW_UPDATE, 0, 0, &all.to_be_bytes());
        self.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &room].concat());

        let mut arrived = Arrival::default();
        while arrived.settings == 0 {
            self.read(&mut arrived);
        }
        self.send(&frame(SETTINGS, END_STREAM, 0, &[]));
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    /// Sends so many requests at once and waits for their answers. Panics if one is refused.
    pub fn exchange(&mut self, count: usize) {
        let requests: Vec<u8> = (0..count).flat_map(|_| self.next_request()).collect();
        self.send(&requests);
        let mut arrived = Arrival::default();
        while arrived.whole < count {
            self.read(&mut arrived);
        }
        assert_eq!(arrived.filled, count, "a request was refused");
    }

    fn next_request(&mut self) -> Vec<u8> {
        let body = match &self.call {
            WireCall::Grpc(message) => message,
            WireCall::Http1(request) => return request.clone(),
        };
        let headers = match self.stream {
            1 => call_headers("/inference.GRPCInferenceService/ModelInfer"),
            _ => KNOWN_HEADERS.to_vec(),
        };
        let mut bytes = frame(HEADERS, END_HEADERS, self.stream, &headers);
        bytes.extend(frame(DATA, END_STREAM, self.stream, body));
        self.stream += 2;
        bytes
    }

    /// Reads once, and counts what is complete.
    fn read(&mut self, arrived: &mut Arrival) {
        let mut part = [0; 64 << 10];
        let count = self.socket.read(&mut part).expect("the server answers");
        assert_ne!(count, 0, "the server closed the connection");
        self.unread.extend_from_slice(&part[..count]);

        let mut counted = 0;
        while let Some(length) = self.count_one(&self.unread[counted..], arrived) {
            counted += length;
        }
        self.unread.drain(..counted);
    }

    /// Counts what is first, if it is complete. Returns its length.
    fn count_one(&self, bytes: &[u8], arrived: &mut Arrival) -> Option<usize> {
        match self.call {
            WireCall::Grpc(_) => count_frame(bytes, arrived),
            WireCall::Http1(_) => count_response(bytes, arrived),
        }
    }
}

fn count_frame(bytes: &[u8], arrived: &mut Arrival) -> Option<usize> {
    let head = bytes.first_chunk::<FRAME_HEAD_BYTES>()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let payload = bytes.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length)?;
    let is_last = head[4] & END_STREAM == END_STREAM;
    match head[3] {
        DATA => arrived.filled += usize::from(!payload.is_empty()),
        HEADERS => arrived.whole += usize::from(is_last),
        SETTINGS => arrived.settings += usize::from(!is_last),
        WINDOW_UPDATE => {}
        other => panic!("a frame of type {other}"),
    }
    Some(FRAME_HEAD_BYTES + length)
}

fn count_response(bytes: &[u8], arrived: &mut Arrival) -> Option<usize> {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("text");
    let (_, length) = head.split_once("\r\ncontent-length: ").expect("a length");
    let length = length.lines().next().expect("a line").parse::<usize>();
    let whole = end + length.expect("a number");
    if bytes.len() < whole {
        return None;
    }
    assert!(
        head.starts_with("HTTP/1.1 200 "),
        "{}",
        bytes.escape_ascii()
    );
    arrived.whole += 1;
    arrived.filled += 1;
    Some(whole)
}
