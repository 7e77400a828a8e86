//! The operator listener, on loopback by default: what is configured, what
//! serves, and the registry's verbs, over REST and gRPC. A browser cannot reach
//! it: it wants a header of its own, and a Host that names an address or
//! localhost.

mod grpc;
mod registry;
mod route;

use super::Front;
use super::feedback;
use super::oip::describe;
use super::rest::Reply;
use super::serve::is_grpc;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::observe::drift::observer::Monitor;
use crate::observe::report::drift::DriftReport;
use crate::observe::report::model::ModelReport;
use crate::observe::report::performance::{PerformanceReport, VersionEstimate};
use crate::serve::servable::Batching;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use route::{Query, Route};
use serde::Serialize;
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
        Ok(()) => rest(&front, request).await,
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

/// Answers one request of REST.
async fn rest(front: &Front, request: Request<Incoming>) -> Result<Reply> {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let version = query.value("version");

    let value = match route::route(parts.method.as_str(), parts.uri.path())? {
        Route::Config => return Ok(Reply::json(front.config.clone())),
        Route::Models => models(front),
        Route::Nudge => {
            front.manager.nudge();
            json!({})
        }
        Route::Drift(name) => return Ok(Reply::json(to_json(&drift(front, &name, version)?))),
        Route::Performance(name) => {
            return Ok(Reply::json(to_json(&performance(front, &name, version)?)));
        }
        Route::Report(name) => return Ok(Reply::json(to_json(&report(front, &name, &query)?))),
        Route::Registry(call) => {
            let body = collect(body).await?;
            return registry::answer(front, call, &query, &body).await;
        }
    };
    Ok(Reply::json(value.to_string()))
}

/// Writes a report as JSON.
fn to_json(report: &impl Serialize) -> String {
    serde_json::to_string(report).expect("plain data is JSON")
}

/// Collects a body within the limits of an operator's request.
async fn collect(body: Incoming) -> Result<Bytes> {
    let collected = tokio::time::timeout(BODY_MAX, Limited::new(body, BODY_BYTES_MAX).collect());
    let collected = collected
        .await
        .map_err(|_| Error::late("the request body did not arrive in time"))?;
    let body = collected
        .map_err(|e| Error::too_large("the request body is broken or too large").with_source(e))?;
    Ok(body.to_bytes())
}

/// What watches here.
fn monitor(front: &Front) -> Result<&Monitor> {
    let off = || Error::precondition("nothing is watched here: monitor.enabled is false");
    front.monitor.as_deref().ok_or_else(off)
}

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

/// Returns the drift report of a model's versions, or of one.
fn drift(front: &Front, name: &str, version: Option<&str>) -> Result<DriftReport> {
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
    Ok(DriftReport { versions: found })
}

/// Returns everything that the HTML page about a model shows: `version=V&hours=H`.
fn report(front: &Front, name: &str, query: &Query) -> Result<ModelReport> {
    let monitor = monitor(front)?;
    let (model, version) = (
        ModelName::parse(name)?,
        query.value("version").map(Version::parse).transpose()?,
    );
    let hours = query.value("hours").map_or(Ok(24 * 7), str::parse::<u64>);
    let hours = hours.map_err(|_| Error::invalid("hours is no whole number of 0 or more"))?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let watched = monitor.charted(
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
    Ok(ModelReport {
        time: now,
        hours,
        watched,
        measured,
        times,
    })
}

/// Returns the measured and estimated performance of a model's versions, or of one.
fn performance(front: &Front, name: &str, version: Option<&str>) -> Result<PerformanceReport> {
    let feedback = feedback::desk(front)?;
    let name = ModelName::parse(name)?;
    let version = version.map(Version::parse).transpose()?;
    let measured = feedback.report(&name, version);
    let monitor = front.monitor.as_ref();
    let watched = monitor
        .map(|monitor| monitor.report(&name, version))
        .unwrap_or_default();
    let estimated: Vec<VersionEstimate> = watched
        .into_iter()
        .filter(|report| report.estimated.is_some())
        .map(|report| VersionEstimate {
            version: report.version,
            digest: report.digest,
            estimated: report.estimated,
        })
        .collect();
    if measured.is_empty() && estimated.is_empty() {
        return Err(Error::not_found(format!(
            "nothing is known of how good the model '{name}' is"
        )));
    }
    Ok(PerformanceReport {
        measured,
        estimated,
    })
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
    fn browsers_are_kept_out() {
        check("localhost:8003", true, true);
        check("127.0.0.1:8003", true, true);
        check("[::1]:8003", true, true);
        check("localhost:8003", false, false);
        check("evil.example:8003", true, false);
        check("127.0.0.1.evil.example", true, false);
    }
}
