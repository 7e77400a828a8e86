//! REST on the data listeners: picks the handler of a method and a path. The
//! route is a pure function; the handlers live with their protocol.

pub(crate) mod call;
pub(crate) mod reply;
pub(crate) mod route;

use super::body::Metered;
use super::{Charge, Front, labels, mlflow, oip, openapi, ops, tfs};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::core::request::{Protocol, Selector, Target};
use call::Call;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use reply::Reply;
use route::{NoRoute, Route, route};
use std::time::Instant;
use tonic::body::Body;

/// Answers a REST request.
pub(crate) async fn answer(
    front: &Front,
    request: Request<Metered>,
    arrived: Instant,
    charge: &Charge,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let call = Call {
        front,
        headers: &parts.headers,
        arrived,
        charge,
    };

    let path = parts.uri.path();
    let protocol = if path.starts_with("/v2") {
        Protocol::OipRest
    } else {
        Protocol::TfsRest
    };

    let missing_host =
        parts.version == http::Version::HTTP_11 && !parts.headers.contains_key(header::HOST);
    let reply = if missing_host {
        let error = Error::invalid("the Host header is missing");
        front.predictor.refused(protocol, &error);
        Reply::error(&error)
    } else {
        match route(&parts.method, path) {
            _ if is_metrics(front, &parts.method, path) => metrics(front),
            Ok(route) => {
                let answered = dispatch(&call, route, parts.uri.query(), body).await;
                answered.unwrap_or_else(|error| Reply::error(&front.told(error, protocol)))
            }
            Err(none) => no_route(front, protocol, &none, &parts.method),
        }
    };

    reply.into_http(&parts.headers)
}

/// Whether a request is for metrics, which may have a path here too.
fn is_metrics(front: &Front, method: &Method, path: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    reads && front.options.metrics_path.as_deref() == Some(path)
}

fn metrics(front: &Front) -> Reply {
    let mut reply = Reply::json(ops::metrics(front));
    let headers = &mut reply.headers;
    headers.insert(header::CONTENT_TYPE, ops::METRICS_TYPE);
    reply
}

async fn dispatch(
    call: &Call<'_>,
    route: Route,
    query: Option<&str>,
    body: Metered,
) -> Result<Reply> {
    match route {
        Route::Infer(name, version) => {
            oip::rest::infer(call, Target::parse(&name, &version), body).await
        }
        Route::TfsPredict(name, selector) => {
            tfs::rest::predict(call, target(&name, selector), body).await
        }
        Route::TfsInfer(asked, name, selector) => {
            tfs::rest::infer(call, target(&name, selector), asked, body).await
        }
        Route::TfsStatus(name, selector) => tfs::rest::status(call.front, &name, selector.as_ref()),
        Route::TfsMetadata(name, selector) => tfs::rest::metadata(call.front, &name, selector),
        Route::Labels => labels::answer(call, body).await,
        Route::Root => Ok(Reply::json(r#"{"status":"alive"}"#)),
        Route::OpenApi => Ok(Reply::json(openapi::document(call.front).to_string())),
        Route::Invocations => mlflow::invoke(call, query, body).await,
        Route::Ping => Ok(mlflow::ping(call.front)),
        Route::Version => Ok(mlflow::version()),
        Route::Index => {
            let body = call.body(body).await?;
            oip::rest::index(call.front, &body)
        }
        Route::Load(name) => {
            let body = call.body(body).await?;
            // On the heap, or every request's task would have room for it.
            Box::pin(oip::rest::load_model(call.front, &name, &body)).await
        }
        Route::LogSettings => {
            let body = call.body(body).await?;
            oip::rest::log_settings(call.front, &body)
        }
        Route::TraceSettings(name) => {
            let body = call.body(body).await?;
            oip::rest::trace_settings(call.front, &name, &body)
        }
        Route::Unload(name) => oip::rest::unload(call.front, &name).await,
        Route::RegisterRegion(name) => {
            let body = call.body(body).await?;
            oip::rest::register_region(call.front, &name, &body)
        }
        other => oip::rest::describe(call.front, &other),
    }
}

fn target(name: &str, selector: Selector) -> Result<Target> {
    Ok(Target {
        model: ModelName::parse(name)?,
        selector,
        key: None,
    })
}

fn no_route(front: &Front, protocol: Protocol, none: &NoRoute, method: &Method) -> Reply {
    let error = match none {
        NoRoute::Unknown => Error::not_found("no such path"),
        NoRoute::Malformed => Error::invalid(
            "malformed request: the paths under /v1 are /v1/models/NAME, /v1/models/NAME/metadata and /v1/models/NAME:predict, :classify and :regress, where NAME may be followed by /versions/N or /labels/LABEL",
        ),
        NoRoute::Explanations => {
            Error::unimplemented("explanations of predictions are not served; ask :predict")
        }
        NoRoute::Method(wanted) => Error::invalid(format!(
            "this path takes {wanted}, not {}",
            short(method.as_str())
        )),
    };

    front.predictor.refused(protocol, &error);
    let mut reply = Reply::error(&error);
    if let NoRoute::Method(wanted) = none {
        reply.status = StatusCode::METHOD_NOT_ALLOWED;
        reply
            .headers
            .insert(header::ALLOW, HeaderValue::from_static(wanted));
    }

    reply
}
