//! Outbound calls: a small client of the Open Inference Protocol over HTTP and
//! gRPC, for the command line and the demo; a webhook; and spans to a collector.
//! Imports core, proto and observe. The client does not retry.

pub(crate) mod otlp;
pub(crate) mod webhook;

use crate::core::error::{Error, Result};
use crate::core::tensor::{DType, Tensor, shape_from_wire};
use crate::proto::inference as p;
use crate::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::transport::Channel;

/// A prediction as a client sees it.
#[derive(Debug)]
pub(crate) struct InferAnswer {
    pub version: String,
    pub prediction_id: String,
    pub outputs: Vec<(String, Tensor)>,
}

/// One HTTP/1.1 connection.
pub struct Http {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// Time limit of a nudge. Without it the server reads the log about a second later.
const NUDGE: Duration = Duration::from_secs(1);

/// Time limit of opening a connection.
const CONNECT: Duration = Duration::from_secs(5);

impl Http {
    /// Connects to `ADDR:PORT`, which may be written as a URL.
    pub async fn connect(address: &str) -> Result<Self> {
        let address = plain(address);
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
            .await
            .map_err(|e| no_server(address, e))?
            .map_err(|e| no_server(address, e))?;
        // Without it only latency suffers.
        let _ = stream.set_nodelay(true);

        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|e| no_server(address, e))?;
        tokio::spawn(connection);

        Ok(Self {
            sender,
            host: address.to_owned(),
        })
    }

    /// Sends one request and reads the answer. Adds the header that the operator
    /// listener requires.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, HeaderMap, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .header("ortus-operator", "1")
            .body(Full::new(body))
            .map_err(|e| Error::invalid("the path is not a valid HTTP path").with_source(e))?;

        self.sender.ready().await.map_err(lost)?;
        let response = self.sender.send_request(request).await.map_err(lost)?;

        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(lost)?.to_bytes();
        Ok((parts.status, parts.headers, body))
    }

    /// Sends an infer request in JSON; returns the headers and the JSON answer.
    pub async fn infer(
        &mut self,
        model: &str,
        version: &str,
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes)> {
        let path = match version {
            "" => format!("/v2/models/{model}/infer"),
            v => format!("/v2/models/{model}/versions/{v}/infer"),
        };
        let (status, headers, body) = self.send(Method::POST, &path, body).await?;
        if status.is_success() {
            Ok((headers, body))
        } else {
            Err(refusal(status, &body))
        }
    }
}

/// An address without the scheme and the path of a URL.
fn plain(address: &str) -> &str {
    let address = address.strip_prefix("http://").unwrap_or(address);
    address.trim_end_matches('/')
}

fn no_server(address: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unavailable(format!("no server answers at {address}")).with_source(cause)
}

fn lost(cause: hyper::Error) -> Error {
    Error::unavailable("the connection was lost").with_source(cause)
}

/// Makes a server read the registry at once, through its operator listener.
/// Optional: a server without a nudge reads the registry a moment later.
pub(crate) async fn nudge(address: &str) -> Result<()> {
    let nudged = tokio::time::timeout(NUDGE, post_nudge(address)).await;
    nudged.map_err(|_| Error::unavailable(format!("{address} does not answer in time")))?
}

async fn post_nudge(address: &str) -> Result<()> {
    let mut http = Http::connect(address).await?;
    let (status, _, body) = http.send(Method::POST, "/v1/nudge", Bytes::new()).await?;

    if status.is_success() {
        Ok(())
    } else {
        Err(refusal(status, &body))
    }
}

/// Reads the reason of a refusal.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Error {
    #[derive(serde::Deserialize)]
    struct ErrorBody {
        error: String,
    }
    let reason = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.error,
        Err(_) => plain_reason(body),
    };
    Error::precondition(format!("the server answered {}: {reason}", status.as_u16()))
}

/// The most characters of a reason that is not in JSON.
const REASON_CHARS_MAX: usize = 300;

/// Reads the reason of a refusal in plain text, as the ops listener gives it.
fn plain_reason(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('<') {
        return "no reason given; is this the HTTP address of an Ortus server?".to_owned();
    }

    let printable = line.chars().filter(|c| !c.is_control());
    printable.take(REASON_CHARS_MAX).collect()
}

/// Opens a gRPC channel to `ADDR:PORT`.
pub(crate) async fn grpc(address: &str) -> Result<GrpcInferenceServiceClient<Channel>> {
    let address = plain(address);
    let channel = Channel::from_shared(format!("http://{address}"))
        .map_err(|e| Error::invalid("the address must be HOST:PORT").with_source(e))?
        .connect_timeout(CONNECT)
        .connect()
        .await
        .map_err(|e| no_server(address, e))?;

    Ok(GrpcInferenceServiceClient::new(channel).max_decoding_message_size(usize::MAX))
}

/// Builds an infer request with raw contents.
pub(crate) fn infer_request(
    model: &str,
    version: &str,
    inputs: &[(String, Tensor)],
) -> p::ModelInferRequest {
    p::ModelInferRequest {
        model_name: model.to_owned(),
        model_version: version.to_owned(),
        inputs: inputs.iter().map(|(name, t)| described(name, t)).collect(),
        raw_input_contents: inputs.iter().map(|(_, t)| t.to_raw()).collect(),
        ..Default::default()
    }
}

/// Describes a tensor whose contents are sent raw.
fn described(name: &str, tensor: &Tensor) -> p::model_infer_request::InferInputTensor {
    p::model_infer_request::InferInputTensor {
        name: name.to_owned(),
        datatype: tensor.dtype().name().to_owned(),
        shape: tensor.shape().iter().map(|d| *d as i64).collect(),
        ..Default::default()
    }
}

/// Sends an infer request over gRPC.
pub(crate) async fn infer(
    client: &mut GrpcInferenceServiceClient<Channel>,
    request: p::ModelInferRequest,
) -> Result<InferAnswer> {
    let answer = client.model_infer(request).await.map_err(refused)?;
    let prediction_id = answer
        .metadata()
        .get("ortus-prediction-id")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned();

    let message = answer.into_inner();
    let mut outputs = Vec::with_capacity(message.outputs.len());
    for (output, raw) in message.outputs.into_iter().zip(message.raw_output_contents) {
        let dtype = DType::from_name(&output.datatype)
            .ok_or_else(|| Error::internal("the server returned an unknown datatype"))?;
        outputs.push((
            output.name,
            Tensor::from_raw(dtype, shape_from_wire(&output.shape)?, raw)?,
        ));
    }

    Ok(InferAnswer {
        version: message.model_version,
        prediction_id,
        outputs,
    })
}

fn refused(status: tonic::Status) -> Error {
    let (code, message) = (status.code(), status.message());
    Error::precondition(format!("the server answered {code:?}: {message}"))
}
