//! A REST answer before it is HTTP: its JSON form, its status for an error, and
//! gzip where the client accepts it.

#[cfg(test)]
mod tests;

use crate::api::inbound::AnswerHeaders;
use crate::api::inflate::ENCODINGS;
use crate::api::oip::json::error_body;
use crate::api::status;
use crate::core::error::Error;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use std::io::Write;
use tonic::body::Body;

/// An answer before it is HTTP.
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl AnswerHeaders for Reply {
    fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }
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
        let mut reply = Self::json(error_body(&error.message));
        reply.status = status::http(error.kind);
        status::add_retry_headers(error, &mut reply.headers);
        if reply.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            reply
                .headers
                .insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ENCODINGS));
        }

        reply
    }
}

/// Bodies below this size are not worth compressing.
const GZIP_BYTES_MIN: usize = 1024;

impl Reply {
    /// Converts it to HTTP, compressed with gzip if the request's `headers` accept
    /// that.
    pub(crate) fn into_http(mut self, headers: &HeaderMap) -> Response<Body> {
        let accepted = headers
            .get(header::ACCEPT_ENCODING)
            .and_then(|v| v.to_str().ok());
        if self.body.len() >= GZIP_BYTES_MIN && accepted.is_some_and(accepts_gzip) {
            self.compress();
        }

        let mut response = Response::new(Body::new(Full::new(self.body)));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    fn compress(&mut self) {
        let room = Vec::with_capacity(self.body.len() / 2);
        let mut gzip = flate2::write::GzEncoder::new(room, flate2::Compression::fast());

        if let Ok(body) = gzip.write_all(&self.body).and_then(|()| gzip.finish()) {
            self.body = body.into();
            let coding = HeaderValue::from_static("gzip");
            self.headers.insert(header::CONTENT_ENCODING, coding);
        }
    }
}

fn accepts_gzip(value: &str) -> bool {
    value.split(',').any(is_accepted_gzip)
}

fn is_accepted_gzip(coding: &str) -> bool {
    let mut parts = coding.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();

    name.eq_ignore_ascii_case("gzip") && !parts.any(is_zero_weight)
}

fn is_zero_weight(part: &str) -> bool {
    let part = part.replace(' ', "");
    matches!(part.as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
}
