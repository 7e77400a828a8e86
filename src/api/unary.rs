//! The unary data calls, ModelInfer and TensorFlow Serving's Predict, answered on HTTP/2 directly: no
//! service to clone, no task and no boxed body for each. Calls with compressed messages, and all
//! others, take the way of tonic in `serve`.

pub(crate) mod answer;
mod message;

use super::body::BodyDeadline;
use super::connection::DataCall;
use super::connection::http2::stream::{send, until_reset};
use super::headers::RequestHeaders;
use super::{Charge, Front, oip, tfs};
use crate::core::error::Result;
use crate::core::request::Protocol;
use answer::UnaryAnswer;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Error as StreamError, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// The header with the compression of the request's messages.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// The trailer with the outcome of a call.
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Answers the calls of one I/O thread.
pub(crate) struct UnaryCalls {
    front: Arc<Front>,
    /// When to refuse requests whose body is still arriving. Of this thread, as a token has a lock.
    bodies: Arc<CancellationToken>,
    /// The trailers of a call that succeeded.
    succeeded: HeaderMap,
}

impl UnaryCalls {
    /// Answers over one front.
    pub(crate) fn new(front: Arc<Front>) -> Self {
        let mut succeeded = HeaderMap::with_capacity(1);
        succeeded.insert(STATUS, HeaderValue::from_static("0"));
        Self {
            bodies: Arc::new(front.stop.bodies.child_token()),
            front,
            succeeded,
        }
    }

    /// Tells whether a request is one of these calls.
    pub(crate) fn takes(request: &Request<RecvStream>) -> bool {
        let headers = request.headers();
        let kind = headers.get(header::CONTENT_TYPE);
        let encoding = headers.get(ENCODING);
        protocol(request.uri().path()).is_some()
            && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
            && encoding.is_none_or(|encoding| encoding == "identity")
    }

    /// Answers a call that [`UnaryCalls::takes`].
    pub(crate) async fn answer(self: Arc<Self>, call: DataCall) {
        let DataCall {
            request,
            mut respond,
            mut progress,
        } = call;
        let predicted = until_reset(&mut respond, self.predict(request)).await;
        progress.answered();
        let sent = match predicted {
            None => return,
            Some(Ok(answer)) => self.send(respond, answer, &progress).await,
            Some(Err(error)) => refuse(respond, error.into()),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer was not sent");
        }
    }

    async fn predict(&self, request: Request<RecvStream>) -> Result<UnaryAnswer> {
        let arrived = Instant::now();
        let (head, body) = request.into_parts();
        let front = &*self.front;
        let headers = RequestHeaders::read(&head.headers);
        let charge = Charge::new(&self.front);
        let latest = arrived + front.limits.read_timeout;
        let until = BodyDeadline {
            at: match headers.deadline(arrived) {
                Ok(Some(deadline)) => deadline.0.min(latest),
                // A malformed timeout is refused with the request.
                _ => latest,
            },
            stop: Arc::clone(&self.bodies),
        };

        let protocol = protocol(head.uri.path()).unwrap_or(Protocol::OipGrpc);
        let message = message::read(body, &charge, until, front.limits.message_bytes_max).await;
        let message = message.inspect_err(|error| front.predictor.refused(protocol, error))?;
        match protocol {
            Protocol::TfsGrpc => tfs::grpc::predict(front, headers, arrived, message).await,
            _ => oip::grpc::infer(front, headers, arrived, message).await,
        }
    }

    async fn send(
        &self,
        mut respond: SendResponse<Bytes>,
        answer: UnaryAnswer,
        progress: &super::connection::AnswerProgress,
    ) -> std::result::Result<(), StreamError> {
        let mut head = Response::new(());
        *head.headers_mut() = answer.headers;
        let mut stream = respond.send_response(head, false)?;
        send(&mut stream, answer.first, progress).await?;
        for piece in answer.rest {
            send(&mut stream, piece, progress).await?;
        }
        stream.send_trailers(self.succeeded.clone())
    }
}

fn refuse(
    mut respond: SendResponse<Bytes>,
    status: Status,
) -> std::result::Result<(), StreamError> {
    respond.send_response(status.into_http(), true).map(|_| ())
}

/// The protocol of a path, if it is one of these calls.
fn protocol(path: &str) -> Option<Protocol> {
    match path {
        "/inference.GRPCInferenceService/ModelInfer" => Some(Protocol::OipGrpc),
        "/tensorflow.serving.PredictionService/Predict" => Some(Protocol::TfsGrpc),
        _ => None,
    }
}
