//! Outbound calls: a small prediction client over either protocol. Used by the
//! command line and the demo; owns no retry.

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
pub(crate) struct Answer {
    pub version: String,
    pub prediction_id: String,
    pub outputs: Vec<(String, Tensor)>,
}

/// One HTTP/1.1 connection.
pub struct Http {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// How long a nudge may take: it spares a second at most.
const NUDGE: Duration = Duration::from_secs(1);

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);

impl Http {
    /// Connects to `ADDR:PORT`.
    pub async fn connect(address: &str) -> Result<Self> {
        let refused = |e: String| {
            Error::unavailable(format!("no server answers at {address}")).with_source(e)
        };
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = stream
            .map_err(|e| refused(e.to_string()))?
            .map_err(|e| refused(e.to_string()))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|e| refused(e.to_string()))?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: address.to_owned(),
        })
    }

    /// Sends one request and collects the answer. Carries the header that the
    /// operator listener asks for.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, HeaderMap, Bytes)> {
        let lost = |e: hyper::Error| Error::unavailable("the connection was lost").with_source(e);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .header("ortus-operator", "1")
            .body(Full::new(body))
            .map_err(|e| Error::invalid("the path is not legal").with_source(e))?;
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

/// Tells a server's operator listener that the registry has something new. It
/// is a hint: where nobody answers, the server will see by itself.
pub(crate) async fn nudge(address: &str) -> Result<()> {
    let nudged = async {
        let mut http = Http::connect(address).await?;
        let (status, _, body) = http.send(Method::POST, "/v1/nudge", Bytes::new()).await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(refusal(status, &body))
        }
    };
    tokio::time::timeout(NUDGE, nudged)
        .await
        .unwrap_or_else(|_| {
            Err(Error::unavailable(format!(
                "{address} does not answer in time"
            )))
        })
}

/// What a server said when it refused.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Error {
    #[derive(serde::Deserialize)]
    struct Body {
        error: String,
    }
    let said = serde_json::from_slice(body)
        .map_or_else(|_| "no reason given".to_owned(), |b: Body| b.error);
    Error::precondition(format!("the server answered {}: {said}", status.as_u16()))
}

/// Opens a gRPC channel to `ADDR:PORT`.
pub(crate) async fn grpc(address: &str) -> Result<GrpcInferenceServiceClient<Channel>> {
    let refused = |e: tonic::transport::Error| {
        Error::unavailable(format!("no server answers at {address}")).with_source(e)
    };
    let channel = Channel::from_shared(format!("http://{address}"))
        .map_err(|e| Error::invalid("the address is not HOST:PORT").with_source(e))?
        .connect_timeout(CONNECT)
        .connect()
        .await
        .map_err(refused)?;
    Ok(GrpcInferenceServiceClient::new(channel).max_decoding_message_size(usize::MAX))
}

/// Builds an infer request with raw contents.
pub(crate) fn infer_request(
    model: &str,
    version: &str,
    inputs: &[(String, Tensor)],
) -> p::ModelInferRequest {
    let input = |(name, tensor): &(String, Tensor)| p::model_infer_request::InferInputTensor {
        name: name.clone(),
        datatype: tensor.dtype().name().to_owned(),
        shape: tensor.shape().iter().map(|d| *d as i64).collect(),
        ..Default::default()
    };
    p::ModelInferRequest {
        model_name: model.to_owned(),
        model_version: version.to_owned(),
        inputs: inputs.iter().map(input).collect(),
        raw_input_contents: inputs.iter().map(|(_, t)| t.to_raw()).collect(),
        ..Default::default()
    }
}

/// Sends an infer request over gRPC.
pub(crate) async fn infer(
    client: &mut GrpcInferenceServiceClient<Channel>,
    request: p::ModelInferRequest,
) -> Result<Answer> {
    let answer = client.model_infer(request).await;
    let answer = answer.map_err(|s| {
        Error::precondition(format!(
            "the server answered {:?}: {}",
            s.code(),
            s.message()
        ))
    })?;
    let id = answer
        .metadata()
        .get("ortus-prediction-id")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let message = answer.into_inner();
    let mut outputs = Vec::with_capacity(message.outputs.len());
    for (output, raw) in message.outputs.into_iter().zip(message.raw_output_contents) {
        let dtype = DType::from_name(&output.datatype)
            .ok_or_else(|| Error::internal("the server answered a datatype unknown here"))?;
        outputs.push((
            output.name,
            Tensor::from_raw(dtype, shape_from_wire(&output.shape)?, raw)?,
        ));
    }
    Ok(Answer {
        version: message.model_version,
        prediction_id: id,
        outputs,
    })
}
