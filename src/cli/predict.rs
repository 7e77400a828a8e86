//! `ortus models` and `ortus predict`: calls of a running server.

use super::print::{self, TextTable, line};
use super::{Models, Predict};
use crate::api::oip::json as oip_json;
use crate::api::oip::shared_memory::Regions;
use crate::client;
use crate::core::error::{Error, Result};
use bytes::Bytes;
use http::Method;

pub(super) async fn models(arguments: &Models) -> Result<()> {
    let mut http = client::Http::connect(&arguments.server).await?;
    let (status, _, body) = http
        .send(Method::POST, "/v2/repository/index", Bytes::new())
        .await?;
    if !status.is_success() {
        return Err(client::refusal(status, &body));
    }

    if arguments.json {
        line(&String::from_utf8_lossy(&body));
        return Ok(());
    }
    let lines: Vec<VersionLine> = serde_json::from_slice(&body).map_err(|e| {
        Error::internal("the server's list of models cannot be read").with_source(e)
    })?;
    let mut table = TextTable::new(&["model", "version", "state", "memory", "reason"]);
    for l in &lines {
        let memory = memory(&mut http, l).await?;
        table.row(&[&l.name, &l.version, &l.state, &memory, &l.reason]);
    }
    table.print();
    Ok(())
}

/// A version of the server's list.
#[derive(serde::Deserialize)]
struct VersionLine {
    name: String,
    version: String,
    state: String,
    reason: String,
}

/// The estimated memory of a version that serves; empty if it does not.
async fn memory(http: &mut client::Http, line: &VersionLine) -> Result<String> {
    if line.state != "READY" {
        return Ok(String::new());
    }
    let path = format!("/v2/models/{}/versions/{}", line.name, line.version);
    let (status, _, body) = http.send(Method::GET, &path, Bytes::new()).await?;
    let metadata: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let bytes = metadata["properties"]["ortus.memory_bytes"].as_str();
    let bytes = bytes.and_then(|text| text.parse::<u64>().ok());
    // It may have left since the list was made.
    let bytes = bytes.filter(|_| status.is_success());
    Ok(bytes.map_or_else(String::new, |bytes| {
        format!("{} MiB", bytes.div_ceil(1 << 20))
    }))
}

pub(super) async fn predict(arguments: &Predict) -> Result<()> {
    let body = request_body(arguments)?;
    if !arguments.grpc {
        let server = arguments.server.as_deref().unwrap_or("127.0.0.1:8000");
        let mut http = client::Http::connect(server).await?;
        let (headers, answer) = http
            .infer(&arguments.model, &arguments.version, body)
            .await?;
        return print::answer(&headers, &answer, arguments.json);
    }

    let inputs = oip_json::decode(&body, None, &Regions::off())?.inputs;
    let mut client = client::grpc(arguments.server.as_deref().unwrap_or("127.0.0.1:8001")).await?;
    let request = client::infer_request(&arguments.model, &arguments.version, &inputs);
    print::grpc_answer(&client::infer(&mut client, request).await?, arguments.json)
}

fn request_body(arguments: &Predict) -> Result<Bytes> {
    let unreadable = |e: std::io::Error| {
        Error::precondition("the request file given with --file cannot be read").with_source(e)
    };
    match &arguments.file {
        Some(path) if path.as_os_str() == "-" => std::io::read_to_string(std::io::stdin())
            .map(Bytes::from)
            .map_err(unreadable),
        Some(path) => std::fs::read(path).map(Bytes::from).map_err(unreadable),
        None => {
            let inputs: Vec<serde_json::Value> = arguments
                .input
                .iter()
                .map(|i| input(i))
                .collect::<Result<_>>()?;
            Ok(serde_json::json!({"inputs": inputs}).to_string().into())
        }
    }
}

/// Reads NAME:TYPE:SHAPE:VALUES.
fn input(argument: &str) -> Result<serde_json::Value> {
    let malformed = || {
        Error::invalid(format!(
            "--input must be NAME:TYPE:SHAPE:VALUES, such as x:FP32:1,3:0.5,1,2; got \"{argument}\""
        ))
    };

    let mut parts = argument.splitn(4, ':');
    let mut part = || parts.next().ok_or_else(malformed);
    let (name, datatype, shape, values) = (part()?, part()?, part()?, part()?);
    let integer = |d: &str| d.trim().parse::<i64>().map_err(|_| malformed());
    let shape: Vec<i64> = shape
        .split(',')
        .filter(|d| !d.is_empty())
        .map(integer)
        .collect::<Result<_>>()?;
    let value = |v: &str| match datatype {
        "BYTES" => Ok(serde_json::Value::from(v)),
        _ => serde_json::from_str(v.trim()).map_err(|_| malformed()),
    };

    let data: Vec<serde_json::Value> = values.split(',').map(value).collect::<Result<_>>()?;
    Ok(serde_json::json!({"name": name, "datatype": datatype, "shape": shape, "data": data}))
}
