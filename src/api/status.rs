//! Maps the kind of an error to a status: one table, with a column per protocol.

use crate::core::error::{Error, Kind};
use http::StatusCode;
use tonic::{Code, Status};

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

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::new(grpc(error.kind), error.message)
    }
}
