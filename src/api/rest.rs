//! REST: a method and a path to a handler, and a reply to HTTP. The route is a
//! pure function; the handlers live with their protocol.

#[cfg(test)]
mod tests;

use super::body::{self, Metered};
use super::{Charge, Front, feedback, oip, status, tfs};
use crate::core::error::{Error, Result};
use crate::core::model::Version;
use crate::core::request::{Protocol, Selector};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use std::io::Write;
use std::time::Instant;
use tonic::body::Body;

/// What a path asks for. Names are decoded once and not yet checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Live,
    Ready,
    Server,
    Models,
    Metadata(String, String),
    ModelReady(String, String),
    Infer(String, String),
    Config(String, String),
    Statistics(String, String),
    Index,
    Load(String),
    Unload(String),
    TfsPredict(String, Selector),
    TfsStatus(String, Option<Selector>),
    TfsMetadata(String, Selector),
    Feedback,
}

/// Why there is no route.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// 404.
    Unknown,
    /// 405, and the method that would do.
    Method(&'static str),
    /// 400, as TensorFlow Serving answers under /v1.
    Malformed,
}

/// Reads a method and a path.
pub(crate) fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let decode = |segment: &str| {
        percent_encoding::percent_decode_str(segment)
            .decode_utf8()
            .ok()
            .map(|s| s.into_owned())
    };
    let all: Option<Vec<String>> = path.split('/').skip(1).map(decode).collect();
    let all = all.ok_or(NoRoute::Malformed)?;
    let segments: Vec<&str> = all.iter().map(String::as_str).collect();
    let (wanted, found) = match segments.as_slice() {
        ["v2"] => ("GET", Route::Server),
        ["v2", "health", "live"] => ("GET", Route::Live),
        ["v2", "health", "ready"] => ("GET", Route::Ready),
        ["v2", "models"] => ("GET", Route::Models),
        ["v2", "models", "stats"] => ("GET", Route::Statistics(String::new(), String::new())),
        ["v2", "models", name] => ("GET", Route::Metadata((*name).to_owned(), String::new())),
        ["v2", "models", name, "versions", version] => (
            "GET",
            Route::Metadata((*name).to_owned(), (*version).to_owned()),
        ),
        ["v2", "models", name, verb] => of_model(name, "", verb)?,
        ["v2", "models", name, "versions", version, verb] => of_model(name, version, verb)?,
        ["v2", "repository", "index"] => ("POST", Route::Index),
        ["v2", "repository", "models", name, "load"] => ("POST", Route::Load((*name).to_owned())),
        ["v2", "repository", "models", name, "unload"] => {
            ("POST", Route::Unload((*name).to_owned()))
        }
        ["v1", "feedback"] => ("POST", Route::Feedback),
        [v1, rest @ ..] if v1.eq_ignore_ascii_case("v1") => return under_v1(method, rest),
        _ => return Err(NoRoute::Unknown),
    };
    if method.as_str() == wanted || (wanted == "GET" && method == Method::HEAD) {
        Ok(found)
    } else {
        Err(NoRoute::Method(wanted))
    }
}

fn of_model(name: &str, version: &str, verb: &str) -> Result<(&'static str, Route), NoRoute> {
    let (name, version) = (name.to_owned(), version.to_owned());
    Ok(match verb {
        "ready" => ("GET", Route::ModelReady(name, version)),
        "infer" => ("POST", Route::Infer(name, version)),
        "config" => ("GET", Route::Config(name, version)),
        "stats" => ("GET", Route::Statistics(name, version)),
        _ => return Err(NoRoute::Unknown),
    })
}

/// TensorFlow Serving's paths, whose fixed words match in any case.
fn under_v1(method: &Method, segments: &[&str]) -> Result<Route, NoRoute> {
    let [models, rest @ ..] = segments else {
        return Err(NoRoute::Malformed);
    };
    if !models.eq_ignore_ascii_case("models") {
        return Err(NoRoute::Malformed);
    }
    let (rest, metadata) = match rest {
        [inner @ .., last] if last.eq_ignore_ascii_case("metadata") && !inner.is_empty() => {
            (inner, true)
        }
        all => (all, false),
    };
    let verb = |text: &str| {
        text.rsplit_once(':')
            .map(|(a, b)| (a.to_owned(), b.to_ascii_lowercase()))
    };
    let (name, kind, value) = match rest {
        [name] => (*name, "", ""),
        [name, kind, value] => (*name, *kind, *value),
        _ => return Err(NoRoute::Malformed),
    };
    let (name, value, verb) = if kind.is_empty() {
        verb(name).map_or((name.to_owned(), String::new(), None), |(n, v)| {
            (n, String::new(), Some(v))
        })
    } else {
        verb(value).map_or((name.to_owned(), value.to_owned(), None), |(x, v)| {
            (name.to_owned(), x, Some(v))
        })
    };
    let selector = match kind.to_ascii_lowercase().as_str() {
        "" => None,
        "versions" => Some(Selector::Exact(
            Version::parse(&value).map_err(|_| NoRoute::Malformed)?,
        )),
        "labels" if !value.is_empty() => Some(Selector::Label(value)),
        _ => return Err(NoRoute::Malformed),
    };
    match (method.as_str(), verb.as_deref(), metadata) {
        ("POST", Some("predict"), false) => Ok(Route::TfsPredict(
            name,
            selector.unwrap_or(Selector::Latest),
        )),
        ("GET" | "HEAD", None, true) => Ok(Route::TfsMetadata(
            name,
            selector.unwrap_or(Selector::Latest),
        )),
        ("GET" | "HEAD", None, false) => Ok(Route::TfsStatus(name, selector)),
        _ => Err(NoRoute::Malformed),
    }
}

/// An answer before it is HTTP.
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// A JSON body with status 200.
    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Self {
            status: StatusCode::OK,
            headers,
            body: body.into(),
        }
    }

    /// The JSON form of an error.
    pub(crate) fn error(error: &Error) -> Self {
        let mut reply = Self::json(oip::json::error_body(&error.message));
        reply.status = status::http(error.kind);
        if reply.status == StatusCode::TOO_MANY_REQUESTS
            || reply.status == StatusCode::SERVICE_UNAVAILABLE
        {
            reply
                .headers
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        reply
    }
}

/// A request whose body is still arriving.
pub(crate) struct Call<'c> {
    pub front: &'c Front,
    pub headers: &'c HeaderMap,
    pub arrived: Instant,
    pub charge: &'c Charge,
}

impl Call<'_> {
    /// Collects and decompresses the body.
    pub(crate) async fn body(&self, body: Metered) -> Result<Bytes> {
        let bytes = body::collect(body, self.front.limits.message_bytes_max).await?;
        body::decoded(self.headers, bytes, self.front, self.charge)
    }
}

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
            Ok(route) => dispatch(&call, route, body).await,
            Err(none) => no_route(front, protocol, &none, &parts.method),
        }
    };
    finish(reply, &parts.headers)
}

async fn dispatch(call: &Call<'_>, route: Route, body: Metered) -> Reply {
    let result = match route {
        Route::Infer(name, version) => oip::rest::infer(call, (&name, &version), body).await,
        Route::TfsPredict(name, selector) => tfs::rest::predict(call, &name, selector, body).await,
        Route::TfsStatus(name, selector) => tfs::rest::status(call.front, &name, selector.as_ref()),
        Route::TfsMetadata(name, selector) => tfs::rest::metadata(call.front, &name, selector),
        Route::Feedback => feedback::answer(call, body).await,
        Route::Index => match call.body(body).await {
            Ok(body) => oip::rest::index(call.front, &body),
            Err(error) => Err(error),
        },
        Route::Load(name) => match call.body(body).await {
            Ok(body) => oip::rest::load(call.front, &name, &body).await,
            Err(error) => Err(error),
        },
        Route::Unload(name) => oip::rest::unload(call.front, &name).await,
        other => oip::rest::describe(call.front, &other),
    };
    result.unwrap_or_else(|error| Reply::error(&error))
}

fn no_route(front: &Front, protocol: Protocol, none: &NoRoute, method: &Method) -> Reply {
    let error = match none {
        NoRoute::Unknown => Error::not_found("no such path"),
        NoRoute::Malformed => {
            Error::invalid("malformed request: the path is not one of /v1/models/<name>[…]")
        }
        NoRoute::Method(wanted) => Error::invalid(format!(
            "this path takes {wanted}, not {}",
            crate::core::model::short(method.as_str())
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

/// Bodies below this size are not worth compressing.
const GZIP_BYTES_MIN: usize = 1024;

/// Turns a reply into HTTP, in gzip where the client takes it.
fn finish(mut reply: Reply, asked: &HeaderMap) -> Response<Body> {
    let accepts = asked
        .get(header::ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok())
        .is_some_and(accepts_gzip);
    if accepts && reply.body.len() >= GZIP_BYTES_MIN {
        let mut gzip = flate2::write::GzEncoder::new(
            Vec::with_capacity(reply.body.len() / 2),
            flate2::Compression::fast(),
        );
        if let Ok(body) = gzip.write_all(&reply.body).and_then(|()| gzip.finish()) {
            reply.body = body.into();
            reply
                .headers
                .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    let mut response = Response::new(Body::new(Full::new(reply.body)));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

fn accepts_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip
            && !parts.any(|p| {
                matches!(
                    p.replace(' ', "").as_str(),
                    "q=0" | "q=0.0" | "q=0.00" | "q=0.000"
                )
            })
    })
}
