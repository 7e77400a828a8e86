//! The unary data calls, ModelInfer and TensorFlow Serving's Predict, answered on HTTP/2 directly: no
//! service to clone, no task and no boxed body for each. Calls with compressed messages, and all
//! others, take the way of tonic in `serve`.

pub(crate) mod answer;
pub(crate) mod message;

use super::body::BodyDeadline;
use super::connection::DataCall;
use super::connection::http2::stream::{send, until_reset};
use super::headers::RequestHeaders;
use super::inbound::{Begun, Inbound};
use super::oip::codec::AnswerForm;
use super::oip::options::OipOptions;
use super::serve::is_grpc;
use super::unread::RefusedBody;
use super::{Front, oip, tfs};
use crate::core::error::Result;
use crate::core::request::Protocol;
use crate::serve::batch::Done;
use answer::UnaryAnswer;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Error as StreamError, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use message::Reading;
use std::sync::Arc;
use std::task::{Context, Poll};
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
        let encoding = request.headers().get(ENCODING);
        protocol(request.uri().path()).is_some()
            && is_grpc(request)
            && encoding.is_none_or(|encoding| encoding == "identity")
    }

    /// Answers a call that [`UnaryCalls::takes`].
    pub(crate) async fn answer(self: Arc<Self>, call: DataCall) {
        let mut unread = None;
        // In a block, so that nothing of it takes room after it. A function would have the call twice.
        {
            let DataCall {
                request,
                mut respond,
                mut progress,
            } = call;
            let Some(predicted) = self.predict(request, &mut respond, &mut unread).await else {
                return;
            };
            progress.answered();
            let sent = match predicted {
                Ok(answer) => self.send(respond, answer, &progress).await,
                Err(error) => refuse(respond, error.into()),
            };
            if let Err(error) = sent {
                tracing::debug!(%error, "an answer was not sent");
            }
        }
        if let Some(rest) = unread {
            // On the heap, as few calls need it.
            let refused = RefusedBody::new(&self.front.limits);
            Box::pin(refused.drop_stream(rest)).await;
        }
    }

    /// Predicts; none if the client resets the stream. Leaves the body in `unread` if it is refused before
    /// its end. What is kept while the call waits is little, as it is moved when the call begins.
    async fn predict(
        &self,
        request: Request<RecvStream>,
        respond: &mut SendResponse<Bytes>,
        unread: &mut Option<RecvStream>,
    ) -> Option<Result<UnaryAnswer>> {
        let arrived = Instant::now();
        let (head, body) = request.into_parts();
        let headers = RequestHeaders::read(&head.headers);
        let read_timeout = self.front.limits.read_timeout;
        let until = BodyDeadline::new(&headers, arrived, read_timeout, &self.bodies);
        let mut reading = Reading::new(body, until, &self.front);
        let message = until_reset(respond, |cx| reading.poll(cx)).await?;
        let (rest, _charge) = reading.into_parts();
        *unread = message.is_err().then_some(rest);

        let protocol = protocol(head.uri.path()).unwrap_or(Protocol::OipGrpc);
        let inbound = Inbound {
            predictor: &self.front.predictor,
            protocol,
            headers,
            arrived,
        };
        let begun = begin(inbound, message, &self.front.oip);
        drop(head);
        let mut begun = match begun {
            Ok(begun) => begun,
            Err(error) => return Some(Err(self.front.told(error, protocol))),
        };
        let done = until_reset(respond, |cx| begun.poll_done(cx)).await?;
        let answered = begun.finish(done);
        Some(answered.map_err(|error| self.front.told(error, protocol)))
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

fn begin<'c>(
    inbound: Inbound<'c, '_>,
    message: Result<Bytes>,
    options: &OipOptions,
) -> Result<BegunCall<'c>> {
    let message = message.map_err(|error| inbound.refused(error))?;
    Ok(match inbound.protocol {
        Protocol::TfsGrpc => BegunCall::Tfs(tfs::grpc::begin(inbound, message)?),
        _ => BegunCall::Oip(oip::grpc::begin(inbound, message, options)?),
    })
}

/// A call whose request was submitted.
enum BegunCall<'c> {
    Oip(Begun<'c, AnswerForm>),
    Tfs(Begun<'c, ()>),
}

impl BegunCall<'_> {
    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done>> {
        match self {
            Self::Oip(begun) => begun.poll_done(cx),
            Self::Tfs(begun) => begun.poll_done(cx),
        }
    }

    fn finish(self, done: Result<Done>) -> Result<UnaryAnswer> {
        match self {
            Self::Oip(begun) => begun.finish(done, oip::grpc::encode),
            Self::Tfs(begun) => begun.finish(done, tfs::grpc::encode),
        }
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
