//! A gRPC client on `h2` itself: one unary method, frames that are encoded already.

use super::{ANSWER_BYTES_MAX, Answer, timeout_text};
use crate::Result;
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Method, Request, Uri, Version};
use std::future::poll_fn;
use std::time::Duration;
use tokio::net::TcpStream;

const METHOD: &str = "/inference.GRPCInferenceService/ModelInfer";
/// So large that the generator's windows slow no server down.
const STREAM_WINDOW_BYTES: u32 = 64 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 20;

/// One HTTP/2 connection; clones share it.
#[derive(Clone)]
pub(crate) struct GrpcClient {
    send: SendRequest<Bytes>,
    uri: Uri,
    headers: HeaderMap,
}

impl GrpcClient {
    /// Connects; the connection is driven by a task of its own.
    pub(crate) async fn connect(address: &str, deadline: Option<Duration>) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .enable_push(false)
            .handshake(stream)
            .await?;
        tokio::spawn(connection);

        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if let Some(deadline) = deadline {
            let text = HeaderValue::try_from(timeout_text(deadline))?;
            headers.insert("grpc-timeout", text);
        }
        let uri = format!("http://{address}{METHOD}").parse()?;
        Ok(Self { send, uri, headers })
    }

    /// Sends one frame and reads the frame of the answer.
    pub(super) async fn call(&mut self, frame: Bytes) -> Result<Answer> {
        poll_fn(|context| self.send.poll_ready(context)).await?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let (response, mut body) = self.send.send_request(request, false)?;
        body.send_data(frame, true)?;

        let (head, mut body) = response.await?.into_parts();
        if head.headers.contains_key("grpc-status") {
            return Ok(refused(&head.headers));
        }
        let message = read(&mut body).await?;
        match body.trailers().await? {
            Some(trailers) if is_ok(&trailers) => Ok(Answer::Message(message)),
            Some(trailers) => Ok(refused(&trailers)),
            None => Ok(Answer::Failed(format!(
                "status {} without trailers",
                head.status
            ))),
        }
    }
}

/// All bytes of a body; of one chunk without a copy.
async fn read(body: &mut RecvStream) -> Result<Bytes> {
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        if rest.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too long".into());
        }
        if first.is_empty() {
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

fn is_ok(trailers: &HeaderMap) -> bool {
    trailers.get("grpc-status").is_some_and(|s| s == "0")
}

fn refused(headers: &HeaderMap) -> Answer {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
    };
    match text("grpc-status") {
        "4" => Answer::Expired,
        "8" => Answer::Overloaded,
        status => Answer::Failed(format!("gRPC status {status}: {}", text("grpc-message"))),
    }
}
