//! Open Inference Protocol v2 over REST: JSON, and its binary tensor extension.

use super::grpc::{refuse_load_parameters, statistics};
use super::{describe, json};
use crate::api::body::Metered;
use crate::api::rest::{Call, Reply, Route};
use crate::api::{
    Front, PREDICTION_HEADER, TRACED_HEADER, VERSION_HEADER, context, deadline, earlier, route_key,
};
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::core::request::{Protocol, Request, Response, Target};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use std::collections::BTreeMap;

/// The length of the JSON part where binary tensors follow it.
const LENGTH_HEADER: &str = "inference-header-content-length";

/// Answers `POST …/infer`.
pub(crate) async fn infer(
    call: &Call<'_>,
    (name, version): (&str, &str),
    body: Metered,
) -> Result<Reply> {
    let predictor = &call.front.predictor;
    let refused = |error: &Error| predictor.refused(Protocol::OipRest, error);
    let target = Target::parse(name, version)
        .inspect_err(refused)?
        .routed_by(route_key(call.headers));
    // A request for nothing that serves is refused before its body is read.
    let servable = predictor.resolve(&target).inspect_err(refused)?;
    let length = json_length(call.headers).inspect_err(refused)?;
    let asked = deadline(call.headers, call.arrived).inspect_err(refused)?;
    let body = call.body(body).await.inspect_err(refused)?;
    let decoded = match length {
        Some(0) => json::raw_request(body, &servable.signature).map(|inputs| json::InferRequest {
            id: String::new(),
            parameters: json::Parameters {
                binary_data_output: true,
                ..json::Parameters::default()
            },
            inputs,
            outputs: Vec::new(),
        }),
        length => json::decode(&body, length),
    };
    let decoded = decoded.inspect_err(refused)?;
    // The header comes first; what is in the body is known only now.
    let servable = match &decoded.parameters.route_key {
        Some(key) if target.key.is_none() => predictor
            .resolve(&target.routed_by(key.as_bytes()))
            .inspect_err(refused)?,
        _ => servable,
    };
    let request = Request {
        id: decoded.id,
        protocol: Protocol::OipRest,
        arrived: call.arrived,
        deadline: earlier(asked, decoded.parameters.timeout_us, call.arrived),
        priority: decoded.parameters.priority,
        inputs: decoded.inputs,
        outputs: decoded
            .outputs
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
        trace: context(call.headers),
    };
    let response = predictor.predict_on(&servable, request).await?;
    let binary = |name: &str| {
        let own = decoded
            .outputs
            .iter()
            .find(|(n, _)| n == name)
            .and_then(|(_, binary)| *binary);
        own.unwrap_or(decoded.parameters.binary_data_output)
    };
    let encoded = json::encode(&response, &binary).inspect_err(refused)?;
    let mut reply = Reply::json(encoded.body);
    if let Some(length) = encoded.json_bytes {
        reply.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        reply.headers.insert(
            HeaderName::from_static(LENGTH_HEADER),
            HeaderValue::from(length),
        );
    }
    stamp(&mut reply, &response);
    Ok(reply)
}

/// Names the version that served and the prediction in the answer's headers.
pub(crate) fn stamp(reply: &mut Reply, response: &Response) {
    reply
        .headers
        .insert(VERSION_HEADER, HeaderValue::from(response.version.number()));
    if let Ok(id) = HeaderValue::from_str(&response.prediction_id.to_string()) {
        reply.headers.insert(PREDICTION_HEADER, id);
    }
    if let Some(trace) = response
        .trace
        .as_deref()
        .and_then(|t| HeaderValue::from_str(t).ok())
    {
        reply.headers.insert(TRACED_HEADER, trace);
    }
}

fn json_length(headers: &HeaderMap) -> Result<Option<usize>> {
    let mut values = headers.get_all(LENGTH_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let digits = value
        .to_str()
        .ok()
        .filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
    match (digits.and_then(|v| v.parse().ok()), values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(Error::invalid(
            "Inference-Header-Content-Length is not one whole number of 0 or more",
        )),
    }
}

/// Answers the calls that tell of the server and its models.
pub(crate) fn describe(front: &Front, route: &Route) -> Result<Reply> {
    let servable =
        |name: &str, version: &str| front.predictor.resolve(&Target::parse(name, version)?);
    let value = match route {
        Route::Live => json!({"live": true}),
        Route::Ready => {
            let ready = front.predictor.is_ready();
            return Ok(with_status(json!({"ready": ready}), ready));
        }
        Route::Server => {
            json!({"name": "ortus", "version": env!("CARGO_PKG_VERSION"), "extensions": describe::EXTENSIONS})
        }
        Route::Models => {
            let table = front.predictor.routes().table();
            let mut names: Vec<&str> = table.models.keys().map(ModelName::as_str).collect();
            names.sort_unstable();
            json!({"models": names})
        }
        Route::Metadata(name, version) => {
            let servable = servable(name, version)?;
            let table = front.predictor.routes().table();
            describe::metadata_json(&describe::metadata(&servable, &table))
        }
        Route::ModelReady(name, version) => {
            let ready = servable(name, version).is_ok();
            return Ok(with_status(
                json!({"name": crate::core::model::short(name), "ready": ready}),
                ready,
            ));
        }
        Route::Config(name, version) => {
            let servable = servable(name, version)?;
            describe::config_json(&describe::config(&servable))
        }
        Route::Statistics(name, version) => {
            describe::statistics_json(&statistics(front, name, version)?)
        }
        _ => return Err(Error::not_found("no such path")),
    };
    Ok(Reply::json(value.to_string()))
}

/// A probe's answer: 400 where it is not ready, as this protocol's clients expect.
fn with_status(body: serde_json::Value, ready: bool) -> Reply {
    let mut reply = Reply::json(body.to_string());
    if !ready {
        reply.status = StatusCode::BAD_REQUEST;
    }
    reply
}

#[derive(serde::Deserialize, Default)]
struct IndexRequest {
    #[serde(default)]
    ready: bool,
}

/// Answers `POST /v2/repository/index`.
pub(crate) fn index(front: &Front, body: &Bytes) -> Result<Reply> {
    let asked: IndexRequest = optional(body)?;
    let models = describe::index(&front.manager.status(), asked.ready);
    let lines = models.iter().map(
        |m| json!({"name": m.name, "version": m.version, "state": m.state, "reason": m.reason}),
    );
    Ok(Reply::json(serde_json::Value::from_iter(lines).to_string()))
}

#[derive(serde::Deserialize, Default)]
struct LoadRequest {
    #[serde(default)]
    parameters: BTreeMap<String, serde::de::IgnoredAny>,
}

/// Answers `POST /v2/repository/models/{name}/load`.
pub(crate) async fn load(front: &Front, name: &str, body: &Bytes) -> Result<Reply> {
    let asked: LoadRequest = optional(body)?;
    refuse_load_parameters(asked.parameters.keys())?;
    front.manager.load(ModelName::parse(name)?).await?;
    Ok(Reply::json(Bytes::new()))
}

/// Answers `POST /v2/repository/models/{name}/unload`.
pub(crate) async fn unload(front: &Front, name: &str) -> Result<Reply> {
    front.manager.unload(ModelName::parse(name)?).await?;
    Ok(Reply::json(Bytes::new()))
}

fn optional<T: Default + serde::de::DeserializeOwned>(body: &Bytes) -> Result<T> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|e| Error::invalid(format!("the body is not the JSON expected: {e}")))
}
