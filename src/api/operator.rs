//! The operator listener, on loopback by default: what is configured, what
//! serves, and the registry's verbs, over REST and gRPC. A browser cannot reach
//! it: it wants a header of its own, and a Host that names an address or
//! localhost.

mod grpc;
mod registry;

use super::Front;
use super::feedback;
use super::oip::describe;
use super::rest::Reply;
use super::serve::is_grpc;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::observe::drift::observer::Monitor;
use crate::serve::servable::Batching;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;

/// The header every operator request carries, whatever its value.
pub(crate) const OPERATOR_HEADER: &str = "ortus-operator";

/// The largest body of an operator's request.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long it may take to arrive.
const BODY_MAX: Duration = Duration::from_secs(10);

/// Answers one request.
pub(crate) async fn answer(front: Arc<Front>, request: Request<Incoming>) -> Response<Body> {
    let admitted = admit(request.headers(), request.uri());
    let reply = match admitted {
        Ok(()) if is_grpc(&request) => return grpc::answer(front, request).await,
        Err(error) if is_grpc(&request) => return Status::from(error).into_http(),
        Ok(()) => route(&front, request).await,
        Err(error) => Err(error),
    };
    let reply = reply.unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::debug!(%error, cause, "operator call refused");
        Reply::error(&error)
    });
    let mut response = Response::new(Body::new(Full::new(reply.body)));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

async fn route(front: &Front, request: Request<Incoming>) -> Result<Reply> {
    let (parts, body) = request.into_parts();
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    if let ("GET", Some((name, verb))) = (method, of_model(path)) {
        let query = parts.uri.query().unwrap_or_default();
        let version = query.strip_prefix("version=");
        let said = match verb {
            "drift" => drift(front, name, version)?,
            "performance" => performance(front, name, version)?,
            _ => report(front, name, query)?,
        };
        return Ok(Reply::json(said.to_string()));
    }
    match (method, path) {
        ("GET", "/v1/config") => Ok(Reply::json(front.config.clone())),
        ("GET", "/v1/models") => Ok(Reply::json(models(front).to_string())),
        ("POST", "/v1/nudge") => {
            front.manager.nudge();
            Ok(Reply::json("{}"))
        }
        ("GET" | "POST", _) if path.starts_with(REGISTRY) => {
            let collected =
                tokio::time::timeout(BODY_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
            let collected =
                collected.map_err(|_| Error::late("the request body did not arrive in time"))?;
            let body = collected.map_err(|e| {
                Error::too_large("the request body is broken or too large").with_source(e)
            })?;
            let query = parts.uri.query().unwrap_or_default();
            registry::answer(
                front,
                method,
                &path[REGISTRY.len()..],
                query,
                &body.to_bytes(),
            )
            .await
        }
        _ => Err(Error::not_found(
            "try /v1/models, /v1/models/NAME/drift, /v1/models/NAME/performance, /v1/models/NAME/report, /v1/config, /v1/registry/models or POST /v1/nudge",
        )),
    }
}

/// The name and the verb of `/v1/models/NAME/VERB`.
fn of_model(path: &str) -> Option<(&str, &str)> {
    let (name, verb) = path.strip_prefix("/v1/models/")?.rsplit_once('/')?;
    matches!(verb, "drift" | "performance" | "report").then_some((name, verb))
}

/// What watches here.
fn monitor(front: &Front) -> Result<&Monitor> {
    let off = || Error::precondition("nothing is watched here: monitor.enabled is false");
    front.monitor.as_deref().ok_or_else(off)
}

/// Where the registry's calls begin.
const REGISTRY: &str = "/v1/registry/";

fn admit(headers: &HeaderMap, uri: &http::Uri) -> Result<()> {
    if !headers.contains_key(OPERATOR_HEADER) {
        return Err(Error::denied(format!(
            "the {OPERATOR_HEADER} header is missing"
        )));
    }
    // HTTP/2 says it in the address.
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let host = headers
        .get(header::HOST)
        .and_then(|h| h.to_str().ok())
        .or(authority)
        .unwrap_or_default();
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(n, _)| n);
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    if name.eq_ignore_ascii_case("localhost") || address.is_ok() {
        return Ok(());
    }
    Err(Error::denied(
        "the Host header names neither an address nor localhost",
    ))
}

/// What the monitor knows of a model's versions, or of one.
fn drift(front: &Front, name: &str, version: Option<&str>) -> Result<Value> {
    let monitor = monitor(front)?;
    let name = ModelName::parse(name)?;
    let version = version.map(Version::parse).transpose()?;
    let found = monitor.report(&name, version);
    if found.is_empty() {
        let which = version.map_or_else(String::new, |v| format!(" version {v} of"));
        return Err(Error::not_found(format!(
            "no{which} model '{name}' serves here"
        )));
    }
    Ok(json!({"versions": found}))
}

/// Everything that a page about a model shows: `version=V&hours=H`.
fn report(front: &Front, name: &str, query: &str) -> Result<Value> {
    let value = |key: &str| {
        query
            .split('&')
            .filter_map(|p| p.split_once('='))
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v)
    };
    let monitor = monitor(front)?;
    let (model, version) = (
        ModelName::parse(name)?,
        value("version").map(Version::parse).transpose()?,
    );
    let hours = value("hours").map_or(Ok(24 * 7), str::parse::<u64>);
    let hours = hours.map_err(|_| Error::invalid("hours is no whole number of 0 or more"))?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let watched = monitor.pictures(
        &model,
        version,
        now.saturating_sub(hours.saturating_mul(3600)),
    );
    if watched.is_empty() {
        return Err(Error::not_found(format!(
            "no version of model '{model}' serves here that was asked for"
        )));
    }
    let measured = front
        .feedback
        .as_ref()
        .map(|f| f.report(&model, version))
        .unwrap_or_default();
    let times = front.metrics.times(model.as_str());
    Ok(
        json!({"time": now, "hours": hours, "watched": watched, "measured": measured, "times": times}),
    )
}

/// What labels say of a model's versions, or of one, and what its scores say.
fn performance(front: &Front, name: &str, version: Option<&str>) -> Result<Value> {
    let feedback = feedback::desk(front)?;
    let name = ModelName::parse(name)?;
    let version = version.map(Version::parse).transpose()?;
    let measured = feedback.report(&name, version);
    let monitor = front.monitor.as_ref();
    let watched = monitor
        .map(|monitor| monitor.report(&name, version))
        .unwrap_or_default();
    let estimated = watched.into_iter().filter_map(|mut report| {
        let (version, digest) = (report["version"].take(), report["digest"].take());
        let estimated = report.get_mut("estimated")?.take();
        Some(json!({"version": version, "digest": digest, "estimated": estimated}))
    });
    let estimated: Vec<Value> = estimated.collect();
    if measured.is_empty() && estimated.is_empty() {
        return Err(Error::not_found(format!(
            "nothing is known of how good the model '{name}' is"
        )));
    }
    Ok(json!({"measured": measured, "estimated": estimated}))
}

fn models(front: &Front) -> Value {
    let table = front.predictor.routes().table();
    let index = describe::index(&front.manager.status(), false);
    let line = |m: &crate::proto::inference::repository_index_response::ModelIndex| {
        let mut line =
            json!({"name": m.name, "version": m.version, "state": m.state, "reason": m.reason});
        let version = m
            .version
            .parse()
            .ok()
            .and_then(crate::core::model::Version::new);
        let routes = table.models.get(m.name.as_str());
        if let Some(s) = version.and_then(|v| routes.and_then(|r| r.versions.get(&v))) {
            line["digest"] = s.digest.to_string().into();
            line["provider"] = s.provider.into();
            line["lanes"] = s.lanes.into();
            line["batching"] = match &s.batching {
                Batching::Joined => json!({"joined": true}),
                Batching::Alone(reason) => json!({"joined": false, "reason": reason}),
            };
            line["batch_rows_max"] = s.options.batch_rows_max.into();
            line["queue_rows_max"] = s.options.queue_rows_max.into();
            line["queue_rows"] = s.metrics.queue_rows.get().into();
            line["requests_in_flight"] = s.metrics.in_flight.get().into();
        }
        line
    };
    json!({"models": index.iter().map(line).collect::<Vec<_>>(), "entry": table.entry})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &'static str, header: bool, admitted: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, http::HeaderValue::from_static(host));
        if header {
            headers.insert(OPERATOR_HEADER, http::HeaderValue::from_static("1"));
        }
        assert_eq!(
            admit(&headers, &http::Uri::from_static("/")).is_ok(),
            admitted,
            "{host}"
        );
    }

    #[test]
    fn paths_name_a_model_and_what_is_asked_of_it() {
        assert_eq!(of_model("/v1/models/a/drift"), Some(("a", "drift")));
        assert_eq!(of_model("/v1/models/a/b/report"), Some(("a/b", "report")));
        for other in [
            "/v1/models/drift",
            "/v1/models/a",
            "/v1/models/a/other",
            "/v1/models",
            "/v1/models/",
        ] {
            assert_eq!(of_model(other), None, "{other}");
        }
    }

    #[test]
    fn browsers_are_kept_out() {
        check("localhost:8003", true, true);
        check("127.0.0.1:8003", true, true);
        check("[::1]:8003", true, true);
        check("localhost:8003", false, false);
        check("evil.example:8003", true, false);
        check("127.0.0.1.evil.example", true, false);
    }
}
