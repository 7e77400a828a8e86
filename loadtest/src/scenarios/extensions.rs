//! P18: tensors in shared memory beside tensors in gRPC messages, and classes of examples beside plain predictions.

use super::bench::{Bench, outcome};
use super::side::{Side, alternate, costs, median, paired_ratio, rates};
use crate::report::{Bar, Finding, Outcome, Plot, Series};
use crate::requests::{GRPC_HEAD, Protocol, RequestSet};
use crate::servers::Server;
use crate::{Result, sample};
use bytes::{BufMut, Bytes, BytesMut};
use ortus::proto::inference as p;
use p::infer_parameter::ParameterChoice;
use p::model_infer_request::InferRequestedOutputTensor;
use prost::Message;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::rc::Rc;

const WIDE: &str = "wide";
/// Floats in a request.
const WIDTHS: [usize; 5] = [16 << 10, 256 << 10, 1 << 20, 4 << 20, 15 << 20];
/// From so many bytes on, shared memory is to be cheaper.
const HELD_FROM: usize = 1 << 20;
const CLASSIFIER: &str = "m1";
const FEATURES: usize = 32;
const ROWS: [usize; 2] = [1, 32];

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    shared_memory(bench, &mut found)?;
    found.findings.push(classes(bench)?);
    Ok(found)
}

fn shared_memory(bench: &Bench<'_>, found: &mut Outcome) -> Result<()> {
    let server = bench.serve(&[WIDE], &["server.shared_memory=true"])?;
    let (mut plain, mut shared) = (Vec::new(), Vec::new());
    for width in WIDTHS {
        let object = SharedObject::new(width)?;
        object.register(&server)?;
        let sides = [
            bench.side("in messages", &server, &in_message(bench, width)?),
            bench.side("in shared memory", &server, &object.requests(bench, width)?),
        ];
        let rounds = bench.run.rounds.clamp(1, 3);
        let all = alternate(2, rounds, |side| bench.closed(&sides[side], 1, 1))?;
        object.unregister(&server)?;
        object.check(width)?;

        let (messages_us, shared_us) = (costs(&all[0]), costs(&all[1]));
        let rate = paired_ratio(&rates(&all[1]), &rates(&all[0]));
        let ratio = paired_ratio(&shared_us, &messages_us);
        let (messages_us, shared_us) = (median(messages_us), median(shared_us));
        plain.push(((width * 4) as f64, messages_us));
        shared.push(((width * 4) as f64, shared_us));
        let detail = json!({"messages_us": messages_us, "shared_us": shared_us});
        let case = format!("shared memory, {} KB in and out", width * 4 / 1000);
        let is_held = width * 4 >= HELD_FROM;
        let name = "server CPU over that of messages";
        let bar = is_held.then_some(Bar::AtMost(1.0));
        found
            .findings
            .push(Finding::new(case.clone(), name, ratio, bar, detail.clone()));
        let bar = is_held.then_some(Bar::AtLeast(1.0));
        let name = "rate over that of messages";
        found
            .findings
            .push(Finding::new(case, name, rate, bar, detail));
    }
    let series = |name: &str, points| Series {
        name: name.to_owned(),
        points,
    };
    found.plots.push(Plot {
        title: "tensors in messages and in shared memory".to_owned(),
        x: "tensor bytes",
        y: "server CPU µs per request",
        is_log: true,
        series: vec![series("messages", plain), series("shared memory", shared)],
        level: None,
    });
    Ok(())
}

/// Requests that carry their tensor.
fn in_message(bench: &Bench<'_>, width: usize) -> Result<Rc<RequestSet>> {
    let values = vec![0.5; width];
    let input = json!({"name": "x", "shape": [1, width], "datatype": "FP32", "data": values});
    let request = sample::request(WIDE, &json!({"inputs": [input]}))?;
    Ok(framed(bench, &request))
}

fn framed(bench: &Bench<'_>, request: &p::ModelInferRequest) -> Rc<RequestSet> {
    let mut frame = BytesMut::with_capacity(GRPC_HEAD + request.encoded_len());
    frame.put_u8(0);
    frame.put_u32(request.encoded_len() as u32);
    request.encode_raw(&mut frame);
    Rc::new(RequestSet::encoded(
        Protocol::Grpc,
        WIDE,
        frame.freeze(),
        bench.habits(),
    ))
}

/// A shared memory object with an input and room for an output, removed in the end.
struct SharedObject {
    path: PathBuf,
    key: String,
    bytes: usize,
}

impl SharedObject {
    fn new(width: usize) -> Result<Self> {
        let key = format!("ortus-loadtest-{}", std::process::id());
        let path = PathBuf::from("/dev/shm").join(&key);
        let bytes = width * 4;
        let mut content = 0.5_f32.to_le_bytes().repeat(width);
        content.resize(2 * bytes, 0);
        std::fs::write(&path, content)?;
        Ok(Self { path, key, bytes })
    }

    fn register(&self, server: &Server) -> Result<()> {
        let body = json!({"key": self.key, "byte_size": 2 * self.bytes}).to_string();
        call(server, "region/tensors/register", &body)
    }

    fn unregister(&self, server: &Server) -> Result<()> {
        call(server, "region/tensors/unregister", "")
    }

    /// Requests that name their tensors.
    fn requests(&self, bench: &Bench<'_>, width: usize) -> Result<Rc<RequestSet>> {
        let number = |bytes: usize| {
            Ok::<_, crate::Error>(ParameterChoice::Int64Param(i64::try_from(bytes)?))
        };
        let parameters = |offset: usize| -> Result<HashMap<String, p::InferParameter>> {
            let region = ParameterChoice::StringParam("tensors".to_owned());
            let all = [
                ("shared_memory_region", region),
                ("shared_memory_offset", number(offset)?),
                ("shared_memory_byte_size", number(self.bytes)?),
            ];
            let parameter = |choice| p::InferParameter {
                parameter_choice: Some(choice),
            };
            Ok(all
                .map(|(name, choice)| (name.to_owned(), parameter(choice)))
                .into())
        };
        let request = p::ModelInferRequest {
            model_name: WIDE.to_owned(),
            inputs: vec![p::model_infer_request::InferInputTensor {
                name: "x".to_owned(),
                datatype: "FP32".to_owned(),
                shape: vec![1, i64::try_from(width)?],
                parameters: parameters(0)?,
                contents: None,
            }],
            outputs: vec![InferRequestedOutputTensor {
                name: "y".to_owned(),
                parameters: parameters(self.bytes)?,
            }],
            ..p::ModelInferRequest::default()
        };
        Ok(framed(bench, &request))
    }

    /// Whether the last answer, which is its input, was written.
    fn check(&self, width: usize) -> Result<()> {
        let content = std::fs::read(&self.path)?;
        let expected = 0.5_f32.to_le_bytes().repeat(width);
        match content[self.bytes..] == expected[..] {
            true => Ok(()),
            false => Err("the output in shared memory is not the input".into()),
        }
    }
}

impl Drop for SharedObject {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Calls the server's interface of shared memory.
fn call(server: &Server, path: &str, body: &str) -> Result<()> {
    let mut stream = TcpStream::connect(server.address(Protocol::Json))?;
    write!(
        stream,
        "POST /v2/systemsharedmemory/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.1 200") {
        true => Ok(()),
        false => Err(answer.into()),
    }
}

/// Classes of examples beside predictions of the same rows. A row may cost as much again as it costs to predict.
fn classes(bench: &Bench<'_>) -> Result<Finding> {
    let server = bench.serve(&[CLASSIFIER], &[])?;
    let side = |name, verb: &str, body: &Value| -> Side {
        let requests = RequestSet::encoded(
            Protocol::Json,
            CLASSIFIER,
            posted(verb, &body.to_string()),
            bench.habits(),
        );
        bench.side(name, &server, &Rc::new(requests))
    };
    let row: Vec<f64> = (0..FEATURES).map(|n| n as f64 / 64.0).collect();
    let mut sides = Vec::new();
    for rows in ROWS {
        let instances = json!({"instances": vec![&row; rows]});
        let examples = json!({"examples": vec![json!({"x": row}); rows]});
        sides.push(side("predict", "predict", &instances));
        sides.push(side("classify", "classify", &examples));
    }
    let rounds = bench.run.rounds.clamp(1, 3);
    let all = alternate(sides.len(), rounds, |at| bench.closed(&sides[at], 1, 1))?;
    let us: Vec<f64> = all.iter().map(|reports| median(costs(reports))).collect();
    let each = (us[2] - us[0]) / (ROWS[1] - ROWS[0]) as f64;
    let allowed = us[2] + each * ROWS[1] as f64;
    let detail = json!({
        "predict_us": [us[0], us[2]], "classify_us": [us[1], us[3]], "predict_row_us": each,
    });
    let case = format!("{CLASSIFIER}, {} examples", ROWS[1]);
    let name = "classify over predict and its rows again";
    Ok(Finding::new(
        case,
        name,
        us[3] / allowed,
        Some(Bar::AtMost(1.0)),
        detail,
    ))
}

fn posted(verb: &str, body: &str) -> Bytes {
    let head = format!(
        "POST /v1/models/{CLASSIFIER}:{verb} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Bytes::from(head + body)
}
