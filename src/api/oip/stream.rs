//! ModelStreamInfer: requests of one HTTP/2 stream, each answered like a request of its own, in the order in which they
//! were sent. A refused request does not end the stream, unless the client asks for that.

use super::answer::{encoded, target};
use super::codec::AnswerForm;
use crate::api::headers::{DIGEST_HEADER, PREDICTION_HEADER, RequestHeaders, VERSION_HEADER};
use crate::api::inbound::Inbound;
use crate::api::{Front, RequestCharge};
use crate::core::error::Result;
use crate::core::request::{Protocol, Response as PredictResponse};
use crate::proto::inference as p;
use crate::proto::inference::infer_parameter::ParameterChoice;
use crate::serve::servable::Servable;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderName};
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tonic::Status;

/// The path of the call.
pub(crate) const PATH: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
/// The most requests of one stream that are served at a time; the client waits with further ones.
const IN_FLIGHT_MAX: usize = 128;
/// The header with which the first refused request ends the stream.
const STRICT_HEADER: HeaderName = HeaderName::from_static("triton_grpc_error");
/// The parameter that marks the last answer of a request: each has one.
const FINAL_RESPONSE: &str = "triton_final_response";
/// The message before a gRPC message: compressed or not, and its length.
const PREFIX_BYTES: usize = 5;

/// The answers of a stream.
pub(crate) type InferStream =
    Pin<Box<dyn Stream<Item = std::result::Result<p::ModelStreamInferResponse, Status>> + Send>>;

/// What the requests of a stream share.
struct OpenStream {
    front: Arc<Front>,
    headers: HeaderMap,
    charge: Option<RequestCharge>,
    is_strict: bool,
}

/// Answers a stream.
pub(super) fn answers(
    front: Arc<Front>,
    request: tonic::Request<tonic::Streaming<p::ModelInferRequest>>,
) -> InferStream {
    let (metadata, extensions, requests) = request.into_parts();
    let headers = metadata.into_headers();
    let stream = Arc::new(OpenStream {
        front,
        is_strict: headers.get(STRICT_HEADER).is_some_and(|v| v == "true"),
        headers,
        charge: extensions.get::<RequestCharge>().cloned(),
    });
    let answers = requests.map(move |request| {
        let stream = Arc::clone(&stream);
        async move { stream.answer(request?).await }
    });
    // An error ends the stream.
    let until_error = answers
        .buffered(IN_FLIGHT_MAX)
        .scan(false, |has_failed, answer| {
            let is_over = std::mem::replace(has_failed, answer.is_err());
            std::future::ready((!is_over).then_some(answer))
        });
    Box::pin(until_error)
}

impl OpenStream {
    async fn answer(
        &self,
        request: p::ModelInferRequest,
    ) -> std::result::Result<p::ModelStreamInferResponse, Status> {
        let bytes = request.encoded_len() + PREFIX_BYTES;
        let (id, model) = (request.id.clone(), request.model_name.clone());
        let answered = self.infer(request).await;
        let answered = answered.map_err(|error| self.front.told(error, Protocol::OipGrpc));
        if let Some(RequestCharge(charge)) = &self.charge {
            charge.give_back(bytes);
        }

        match answered {
            Ok(response) => Ok(p::ModelStreamInferResponse {
                error_message: String::new(),
                infer_response: Some(response),
            }),
            Err(error) if self.is_strict => Err(error.into()),
            // The id tells the client which request failed.
            Err(error) => Ok(p::ModelStreamInferResponse {
                error_message: error.message,
                infer_response: Some(p::ModelInferResponse {
                    model_name: model,
                    id,
                    ..p::ModelInferResponse::default()
                }),
            }),
        }
    }

    async fn infer(&self, request: p::ModelInferRequest) -> Result<p::ModelInferResponse> {
        let inbound = Inbound {
            predictor: &self.front.predictor,
            protocol: Protocol::OipGrpc,
            headers: RequestHeaders::read(&self.headers),
            arrived: Instant::now(),
        };
        let encode = |response: &PredictResponse, form: AnswerForm, servable: &Servable| {
            encoded(response, &form, servable).map(tonic::Response::new)
        };
        let admitted = inbound.admit(target(&request))?;
        let answer = admitted
            .predict(super::codec::decode(request, &self.front.oip), encode)
            .await?;
        let (metadata, mut response, _) = answer.into_parts();
        let own = metadata.into_headers();
        response.parameters.insert(
            FINAL_RESPONSE.to_owned(),
            parameter(ParameterChoice::BoolParam(true)),
        );
        // A stream has one set of headers, so each answer has these as parameters.
        for name in [PREDICTION_HEADER, VERSION_HEADER, DIGEST_HEADER] {
            let text = own.get(&name).and_then(|value| value.to_str().ok());
            if let Some(text) = text {
                let choice = ParameterChoice::StringParam(text.to_owned());
                response
                    .parameters
                    .insert(name.as_str().to_owned(), parameter(choice));
            }
        }
        Ok(response)
    }
}

fn parameter(choice: ParameterChoice) -> p::InferParameter {
    p::InferParameter {
        parameter_choice: Some(choice),
    }
}
