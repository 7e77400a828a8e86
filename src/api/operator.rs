//! The operator API, on loopback by default: the configuration, the served models,
//! and the commands of the registry, over REST and gRPC. Refuses requests of
//! browsers: each needs a header of its own, and a Host that is an IP address or
//! localhost.

mod grpc;
mod registry;
mod route;
#[cfg(test)]
mod tests;
mod views;

use super::Front;
use super::request_body::RequestBody;
use super::rest::reply::Reply;
use super::serve::is_grpc;
use crate::core::error::{Error, Result};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use route::{OperatorRoute, Query};
use serde::Serialize;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;

/// The header that an operator request needs, with any value.
pub(crate) const OPERATOR_HEADER: &str = "ortus-operator";

/// The largest body of an operator's request.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The longest time for the body to arrive.
const BODY_MAX: Duration = Duration::from_secs(10);

/// Answers one request.
pub(crate) async fn answer(front: Arc<Front>, request: Request<RequestBody>) -> Response<Body> {
    let admitted = check_origin(request.headers(), request.uri());
    let reply = match admitted {
        Ok(()) if is_grpc(&request) => return grpc::answer(front, request).await,
        Err(error) if is_grpc(&request) => return Status::from(error).into_http(),
        Ok(()) => answer_rest(&front, request).await,
        Err(error) => Err(error),
    };

    let reply = reply.unwrap_or_else(|error| {
        log_refusal(&error);
        Reply::error(&error)
    });
    let mut response = Response::new(Body::new(Full::new(reply.body)));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

fn log_refusal(error: &Error) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::debug!(%error, cause, "operator call refused");
}

/// Answers one request of REST.
async fn answer_rest(front: &Front, request: Request<RequestBody>) -> Result<Reply> {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let version = query.value("version");

    let value = match route::route(parts.method.as_str(), parts.uri.path())? {
        OperatorRoute::Config => return Ok(Reply::json(front.config.clone())),
        OperatorRoute::Models => views::models(front),
        OperatorRoute::Nudge => {
            front.manager.nudge();
            json!({})
        }
        OperatorRoute::Drift(name) => {
            return Ok(Reply::json(to_json(&views::drift(front, &name, version)?)));
        }
        OperatorRoute::Performance(name) => {
            let report = views::performance(front, &name, version)?;
            return Ok(Reply::json(to_json(&report)));
        }
        OperatorRoute::Explain(name) => {
            let report = views::explain(front, &name, version)?;
            return Ok(Reply::json(to_json(&report)));
        }
        OperatorRoute::Report(name) => {
            let report = views::report(front, &name, version, query.value("hours"))?;
            return Ok(Reply::json(to_json(&report)));
        }
        OperatorRoute::Registry(call) => {
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
async fn collect(body: RequestBody) -> Result<Bytes> {
    let collected = tokio::time::timeout(BODY_MAX, Limited::new(body, BODY_BYTES_MAX).collect());
    let collected = collected
        .await
        .map_err(|_| Error::late("the request body did not arrive in time"))?;
    let body = collected
        .map_err(|e| Error::too_large("the request body is broken or too large").with_source(e))?;
    Ok(body.to_bytes())
}

fn check_origin(headers: &HeaderMap, uri: &http::Uri) -> Result<()> {
    if !headers.contains_key(OPERATOR_HEADER) {
        return Err(Error::denied(format!(
            "the {OPERATOR_HEADER} header is missing"
        )));
    }

    if is_local(host(headers, uri)) {
        return Ok(());
    }
    Err(Error::denied(
        "the Host header names neither an IP address nor localhost",
    ))
}

/// The host that a request is for; HTTP/2 has it in the address.
fn host<'r>(headers: &'r HeaderMap, uri: &'r http::Uri) -> &'r str {
    let header = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let authority = uri.authority().map(http::uri::Authority::as_str);
    header.or(authority).unwrap_or_default()
}

/// Whether a host, with or without a port, is an address or localhost.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');

    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}
