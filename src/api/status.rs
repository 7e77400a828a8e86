//! Maps an error to a status: one table of kinds, with a column per protocol, and the headers that tell
//! a client whether and when to try again.

use super::oip::options::Compat;
use crate::core::error::{Error, Kind, Unexecuted};
use crate::core::request::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// The response header that says `false` if the request was refused before it ran.
const EXECUTED_HEADER: HeaderName = HeaderName::from_static("ortus-executed");
/// The trailer with the milliseconds after which a gRPC client may try again.
const PUSHBACK_HEADER: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// The wait that HTTP clients are asked for where nothing is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The gRPC code of a kind.
pub(crate) fn grpc(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Cancelled => Code::Cancelled,
        Kind::Unavailable => Code::Unavailable,
        Kind::Unimplemented | Kind::UnsupportedEncoding => Code::Unimplemented,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::TooLarge => Code::OutOfRange,
        Kind::Internal => Code::Internal,
    }
}

/// The HTTP status of a kind, the same for the Open Inference Protocol and
/// TensorFlow Serving.
pub(crate) fn http(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidArgument | Kind::FailedPrecondition => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Kind::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::PermissionDenied => StatusCode::FORBIDDEN,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a client of a protocol is told, where servers of that protocol have another kind for an error: their clients
/// retry what is unavailable.
pub(crate) fn told(mut error: Error, protocol: Protocol, compat: Compat) -> Error {
    let is_oip = matches!(protocol, Protocol::OipGrpc | Protocol::OipRest);
    let is_unavailable = match error.kind {
        Kind::ResourceExhausted => !is_oip || compat == Compat::Triton,
        Kind::DeadlineExceeded => is_oip && compat == Compat::Triton,
        _ => false,
    };
    if is_unavailable {
        error.kind = Kind::Unavailable;
    }
    error
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = grpc(error.kind);
        let Some(unexecuted) = error.unexecuted else {
            return Self::new(code, error.message);
        };

        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(EXECUTED_HEADER, HeaderValue::from_static("false"));
        if let Some(wait) = unexecuted.retry_after {
            let ms = wait.as_nanos().div_ceil(1_000_000).max(1);
            let ms = u64::try_from(ms).unwrap_or(u64::MAX);
            headers.insert(PUSHBACK_HEADER, ms.into());
        }
        Self::with_metadata(code, error.message, MetadataMap::from_headers(headers))
    }
}

/// Adds the headers that tell an HTTP client whether and when to try again.
pub(crate) fn add_retry_headers(error: &Error, headers: &mut HeaderMap) {
    if error.unexecuted.is_some() {
        headers.insert(EXECUTED_HEADER, HeaderValue::from_static("false"));
    }
    if matches!(error.kind, Kind::ResourceExhausted | Kind::Unavailable) {
        let known = |unexecuted: Unexecuted| unexecuted.retry_after;
        let wait = error.unexecuted.and_then(known).unwrap_or(RETRY_AFTER);
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, seconds.max(1).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of both protocols.
    fn headers(error: impl Fn() -> Error) -> [HeaderMap; 2] {
        let mut http = HeaderMap::new();
        add_retry_headers(&error(), &mut http);
        let grpc = Status::from(error()).into_http::<()>();
        [http, grpc.headers().clone()]
    }

    fn text(headers: &HeaderMap, name: &str) -> Option<String> {
        let value = headers.get(name)?;
        Some(value.to_str().expect("text").to_owned())
    }

    #[test]
    fn clients_that_retry_what_is_unavailable_are_told_so() {
        use Kind::{DeadlineExceeded as Late, ResourceExhausted as Full, Unavailable};
        let kinds = |protocol, compat| {
            [Error::overloaded("full"), Error::late("late")]
                .map(|error| told(error, protocol, compat).kind)
        };
        for (protocol, plain, triton) in [
            (Protocol::OipGrpc, [Full, Late], [Unavailable; 2]),
            (Protocol::OipRest, [Full, Late], [Unavailable; 2]),
            (Protocol::TfsGrpc, [Unavailable, Late], [Unavailable, Late]),
            (Protocol::TfsRest, [Unavailable, Late], [Unavailable, Late]),
        ] {
            assert_eq!(kinds(protocol, Compat::None), plain);
            assert_eq!(kinds(protocol, Compat::Triton), triton);
        }
    }

    #[test]
    fn a_refusal_says_that_nothing_ran_and_when_to_try_again() {
        for (ms, seconds, pushback) in [(0, "1", "1"), (20, "1", "20"), (3_001, "4", "3001")] {
            let wait = Some(Duration::from_millis(ms));
            let [http, grpc] = headers(|| Error::overloaded("full").unexecuted(wait));
            assert_eq!(text(&http, "retry-after").as_deref(), Some(seconds));
            assert_eq!(
                text(&grpc, "grpc-retry-pushback-ms").as_deref(),
                Some(pushback)
            );
            for headers in [http, grpc] {
                assert_eq!(text(&headers, "ortus-executed").as_deref(), Some("false"));
            }
        }

        let [http, grpc] = headers(|| Error::late("late").unexecuted(None));
        assert_eq!(text(&http, "retry-after"), None);
        assert_eq!(text(&grpc, "grpc-retry-pushback-ms"), None);
        assert!(text(&http, "ortus-executed").is_some() && text(&grpc, "ortus-executed").is_some());
        let [http, grpc] = headers(|| Error::unavailable("maybe it ran"));
        assert_eq!(text(&http, "retry-after").as_deref(), Some("1"));
        assert!(text(&http, "ortus-executed").is_none() && text(&grpc, "ortus-executed").is_none());
    }
}
