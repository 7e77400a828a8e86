//! The ops listener: `/metrics`, `/livez`, `/readyz`. No call changes anything.

use super::Front;
use super::request_body::RequestBody;
use crate::observe::metrics::aliases::{self, AliasedVersion, MetricAliases};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use std::sync::Arc;
use tonic::body::Body;

/// The type of what Prometheus reads.
pub(crate) const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers one request.
pub(crate) async fn answer(front: Arc<Front>, request: Request<RequestBody>) -> Response<Body> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let ready = front.predictor.is_ready();
    let (status, body): (StatusCode, Bytes) = match request.uri().path() {
        _ if !reads => (StatusCode::METHOD_NOT_ALLOWED, elsewhere(&front)),
        "/metrics" => (StatusCode::OK, metrics(&front)),
        "/livez" => (StatusCode::OK, "live\n".into()),
        "/readyz" if ready => (StatusCode::OK, "ready\n".into()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".into()),
        _ => (StatusCode::NOT_FOUND, elsewhere(&front)),
    };

    let mut response = Response::new(Body::new(Full::new(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, METRICS_TYPE);
    response
}

/// Every series, also under further names if that is set.
pub(crate) fn metrics(front: &Front) -> Bytes {
    let mut text = front.metrics.render();
    if front.options.metric_aliases != MetricAliases::None {
        let table = front.predictor.routes().table();
        let served = table.models.values().flat_map(|m| m.versions.values());
        let mut versions: Vec<AliasedVersion<'_>> = served
            .map(|servable| AliasedVersion {
                model: &servable.name,
                version: servable.version.number(),
                metrics: &servable.metrics,
            })
            .collect();
        versions.sort_by_key(|version| (version.model, version.version));
        text.extend(aliases::write(front.options.metric_aliases, &versions).into_bytes());
    }
    text.into()
}

/// What a client may ask here, and where it finds the rest.
fn elsewhere(front: &Front) -> Bytes {
    let serving = front.http;
    let text = format!(
        "this is the ops listener, which answers GET for /metrics, /livez and /readyz; models are served at {serving}\n"
    );
    text.into()
}
