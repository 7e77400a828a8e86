//! Open Inference Protocol v2 over REST: JSON, and its binary tensor extension.

use super::client_settings::{self, LogValue};
use super::grpc::{no_cuda_memory, statistics};
use super::wishes::{self, OutputWishes};
use super::{describe, json, load};
use crate::api::Front;
use crate::api::body::Metered;
use crate::api::inbound::Decoded;
use crate::api::rest::call::Call;
use crate::api::rest::reply::Reply;
use crate::api::rest::route::Route;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Signature};
use crate::core::request::{Protocol, Response, Target};
use crate::serve::servable::Servable;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use std::collections::BTreeMap;

/// The length of the JSON part where binary tensors follow it.
const LENGTH_HEADER: &str = "inference-header-content-length";

/// Answers `POST …/infer`.
pub(crate) async fn infer(call: &Call<'_>, target: Result<Target>, body: Metered) -> Result<Reply> {
    let admitted = call.inbound(Protocol::OipRest).admit(target)?;
    let decoded = read_infer(call, admitted.signature(), body).await;
    admitted.predict(decoded, encode_infer).await
}

async fn read_infer(
    call: &Call<'_>,
    signature: &Signature,
    body: Metered,
) -> Result<Decoded<BinaryOutputs>> {
    let length = json_length(call.headers)?;
    let body = call.body(body).await?;

    let read = match length {
        Some(0) => json::InferRequest {
            id: String::new(),
            parameters: json::JsonParameters {
                binary_data_output: true,
                ..json::JsonParameters::default()
            },
            inputs: json::raw_request(body, signature)?,
            outputs: Vec::new(),
            wishes: None,
        },
        length => json::decode(&body, length, &call.front.oip.regions)?,
    };

    Ok(Decoded {
        id: read.id,
        priority: read.parameters.priority,
        timeout_us: read.parameters.timeout_us,
        route_key: read.parameters.route_key,
        inputs: read.inputs,
        outputs: read.outputs.iter().map(|(name, _)| name.clone()).collect(),
        form: BinaryOutputs {
            by_name: read.outputs,
            default: read.parameters.binary_data_output,
            wishes: read.wishes,
        },
    })
}

/// Which outputs the client wants in binary.
struct BinaryOutputs {
    /// Every output that the request names, and what it says about it.
    by_name: Vec<(String, Option<bool>)>,
    /// For all other outputs.
    default: bool,
    /// What else is asked of outputs.
    wishes: OutputWishes,
}

impl BinaryOutputs {
    fn contains(&self, name: &str) -> bool {
        let named = self.by_name.iter().find(|(n, _)| n == name);
        named
            .and_then(|(_, binary)| *binary)
            .unwrap_or(self.default)
    }
}

fn encode_infer(response: &Response, binary: BinaryOutputs, servable: &Servable) -> Result<Reply> {
    let wishes = binary.wishes.as_deref();
    let wished = wishes.map(|wishes| wishes::apply(wishes, response, servable));
    let wished = wished.transpose()?;
    let (response, placed) = match &wished {
        Some(wished) => (&wished.response, wished.placed.as_slice()),
        None => (response, &[][..]),
    };
    let encoded = json::encode(response, &|name| binary.contains(name), placed)?;

    let mut reply = Reply::json(encoded.body);
    if let Some(length) = encoded.json_bytes {
        let octets = HeaderValue::from_static("application/octet-stream");
        reply.headers.insert(header::CONTENT_TYPE, octets);
        reply.headers.insert(LENGTH_HEADER, length.into());
    }

    Ok(reply)
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
            "Inference-Header-Content-Length must be one non-negative integer",
        )),
    }
}

/// Answers the calls about the server and its models.
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
            json!({"name": front.oip.server_name(), "version": env!("CARGO_PKG_VERSION"), "extensions": describe::extensions(front)})
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
            let target = Target::parse(name, version);
            let ready = target.is_ok_and(|target| front.predictor.is_model_ready(&target));
            return Ok(with_status(
                json!({"name": short(name), "ready": ready}),
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
        Route::RegionStatus(name) => {
            let regions = front.oip.regions.status(name)?;
            let regions = regions.iter().map(|region| {
                json!({"name": region.name, "key": region.key, "offset": region.offset, "byte_size": region.bytes})
            });
            serde_json::Value::from_iter(regions)
        }
        Route::UnregisterRegion(name) => {
            front.oip.regions.unregister(name)?;
            return Ok(Reply::json(Bytes::new()));
        }
        Route::CudaStatus => json!([]),
        Route::CudaRegister => return Err(no_cuda_memory()),
        // There is none, so none is left. Clients of Triton begin with this call.
        Route::CudaUnregister => return Ok(Reply::json(Bytes::new())),
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
    let request: IndexRequest = optional(body)?;
    let models = describe::index(&front.manager, request.ready);
    let lines = models.iter().map(
        |m| json!({"name": m.name, "version": m.version, "state": m.state, "reason": m.reason}),
    );
    Ok(Reply::json(serde_json::Value::from_iter(lines).to_string()))
}

#[derive(serde::Deserialize, Default)]
struct LoadRequest {
    #[serde(default)]
    parameters: BTreeMap<String, serde_json::Value>,
}

/// Answers `POST /v2/repository/models/{name}/load`.
pub(crate) async fn load_model(front: &Front, name: &str, body: &Bytes) -> Result<Reply> {
    let request: LoadRequest = optional(body)?;
    let supply = |name: &ModelName| load::of_json(name, request.parameters);
    load::load(front, ModelName::parse(name)?, supply).await?;
    Ok(Reply::json(Bytes::new()))
}

/// Answers `POST /v2/repository/models/{name}/unload`.
pub(crate) async fn unload(front: &Front, name: &str) -> Result<Reply> {
    front.manager.unload(ModelName::parse(name)?).await?;
    Ok(Reply::json(Bytes::new()))
}

/// Answers `GET` and `POST /v2/logging`.
pub(crate) fn log_settings(front: &Front, body: &Bytes) -> Result<Reply> {
    let changes = client_settings::log_of_json(optional(body)?)?;
    let settings = client_settings::log(front, changes)?;
    let member = |(name, value): (&str, LogValue)| {
        let value = match value {
            LogValue::Flag(on) => json!(on),
            LogValue::Number(number) => json!(number),
            LogValue::Text(text) => json!(text),
        };
        (name.to_owned(), value)
    };
    let settings: serde_json::Map<_, _> = settings.into_iter().map(member).collect();
    Ok(Reply::json(serde_json::Value::Object(settings).to_string()))
}

/// Answers `GET` and `POST /v2/trace/setting`, and the same of a model.
pub(crate) fn trace_settings(front: &Front, model: &str, body: &Bytes) -> Result<Reply> {
    if !model.is_empty() {
        front.predictor.resolve(&Target::parse(model, "")?)?;
    }
    let changes = client_settings::trace_of_json(optional(body)?)?;
    let settings = client_settings::trace(front, model, &changes)?;
    let member = |(name, values): (&str, Vec<String>)| {
        // The level is a list, of which there is one part.
        let value = match values.as_slice() {
            [one] if name != "trace_level" => json!(one),
            all => json!(all),
        };
        (name.to_owned(), value)
    };
    let settings: serde_json::Map<_, _> = settings.into_iter().map(member).collect();
    Ok(Reply::json(serde_json::Value::Object(settings).to_string()))
}

#[derive(serde::Deserialize, Default)]
struct RegionRequest {
    #[serde(default)]
    key: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    byte_size: u64,
}

/// Answers `POST /v2/systemsharedmemory/region/{name}/register`.
pub(crate) fn register_region(front: &Front, name: &str, body: &Bytes) -> Result<Reply> {
    let request: RegionRequest = optional(body)?;
    let regions = &front.oip.regions;
    regions.register(name, &request.key, request.offset, request.byte_size)?;
    Ok(Reply::json(Bytes::new()))
}

fn optional<T: Default + serde::de::DeserializeOwned>(body: &Bytes) -> Result<T> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|e| Error::invalid(format!("the body is not valid JSON for this call: {e}")))
}
