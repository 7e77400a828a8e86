//! TensorFlow Serving over gRPC: Predict, metadata and status.

use super::codec::{self, SIGNATURE};
use super::examples;
use super::inference::{self, Inference};
use super::reload;
use crate::api::decoded_size;
use crate::api::headers::RequestHeaders;
use crate::api::inbound::{Arrived, Begun, Inbound, malformed};
use crate::api::unary::answer::UnaryAnswer;
use crate::api::{Front, RequestCharge};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::core::request::{Protocol, Response as Answered, Selector, Target};
use crate::proto::tensorflow::serving as p;
use crate::proto::tensorflow::serving::model_service_server::ModelService;
use crate::proto::tensorflow::serving::prediction_service_server::PredictionService;
use crate::serve::manager::{ServingState, VersionStatus};
use crate::serve::servable::Servable;
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

/// Both services; cheap to clone.
#[derive(Clone)]
pub(crate) struct Tfs(pub Arc<Front>);

/// Begins Predict on the data path.
pub(crate) fn begin<'c>(inbound: Inbound<'c, '_>, message: Bytes) -> Result<Begun<'c, ()>> {
    let decoded = |message: Bytes| {
        decoded_size::check("tensorflow.serving.PredictRequest", &message)?;
        p::PredictRequest::decode(message).map_err(|e| malformed(&e))
    };
    if let Some(spec) = codec::spec(&message) {
        // A refusal costs little, as the tensors are not decoded.
        let admitted = inbound.admit(codec::target(Some(&spec)))?;
        return admitted.begin(decoded(message).and_then(codec::decode));
    }

    let message = decoded(message).map_err(|error| inbound.refused(error))?;
    let admitted = inbound.admit(codec::target(message.model_spec.as_ref()))?;
    admitted.begin(codec::decode(message))
}

/// Writes the answer of the data path.
pub(crate) fn encode(response: &Answered, (): (), _: &Servable) -> Result<UnaryAnswer> {
    UnaryAnswer::whole(&answer(response))
}

impl Tfs {
    async fn predict(
        &self,
        request: tonic::Request<p::PredictRequest>,
    ) -> Result<Response<p::PredictResponse>> {
        let (metadata, extensions, message) = request.into_parts();
        let inbound = Inbound {
            predictor: &self.0.predictor,
            protocol: Protocol::TfsGrpc,
            headers: RequestHeaders::read(metadata.as_ref()),
            arrived: Arrived::of(&extensions),
        };
        let admitted = inbound.admit(codec::target(message.model_spec.as_ref()))?;
        let encode = |response: &Answered, (), _: &Servable| Ok(Response::new(answer(response)));
        admitted.predict(codec::decode(message), encode).await
    }

    /// Answers a request of examples.
    async fn infer<T>(
        &self,
        metadata: &MetadataMap,
        extensions: &tonic::Extensions,
        examples: ExampleRequest,
        encode: impl FnOnce(&Answered, Vec<Inference>, &Servable) -> Result<Response<T>>,
    ) -> Result<Response<T>> {
        let inbound = Inbound {
            predictor: &self.0.predictor,
            protocol: Protocol::TfsGrpc,
            headers: RequestHeaders::read(metadata.as_ref()),
            arrived: Arrived::of(extensions),
        };
        let ExampleRequest { spec, input, asked } = examples;
        let first = asked.first().copied().unwrap_or(Inference::Classify);
        let admitted = inbound.admit(first.target(spec.as_ref()));
        let admitted = admitted.map_err(|error| self.0.told(error, Protocol::TfsGrpc))?;
        let outputs = asked.iter().map(|asked| asked.output(admitted.servable()));
        let decoded = outputs.collect::<Result<Vec<_>>>().and_then(|outputs| {
            let inputs = examples::decode(input, admitted.schema(&self.0.limits))?;
            if let Some(RequestCharge(charge)) = extensions.get() {
                charge.add_tensors(&inputs, 0)?;
            }
            inference::decoded(inputs, outputs, asked)
        });
        let answered = admitted.predict(decoded, encode).await;
        answered.map_err(|error| self.0.told(error, Protocol::TfsGrpc))
    }

    fn metadata(
        &self,
        request: &p::GetModelMetadataRequest,
    ) -> Result<p::GetModelMetadataResponse> {
        let target = codec::target(request.model_spec.as_ref())?;
        check_metadata_fields(&request.metadata_field)?;

        let servable = self.0.predictor.resolve(&target)?;
        let map = p::SignatureDefMap {
            signature_def: [(
                SIGNATURE.to_owned(),
                codec::signature_def(&servable.signature),
            )]
            .into(),
        };

        let any = prost_types::Any {
            type_url: "type.googleapis.com/tensorflow.serving.SignatureDefMap".to_owned(),
            value: map.encode_to_vec(),
        };
        Ok(p::GetModelMetadataResponse {
            model_spec: Some(spec(&servable.name, servable.version)),
            metadata: [("signature_def".to_owned(), any)].into(),
        })
    }
}

/// ExampleRequest, with what is asked of them.
struct ExampleRequest {
    spec: Option<p::ModelSpec>,
    input: Option<p::Input>,
    asked: Vec<Inference>,
}

impl ExampleRequest {
    /// Takes the tasks of MultiInference, which must be of one model.
    fn of_tasks(tasks: Vec<p::InferenceTask>, input: Option<p::Input>) -> Result<Self> {
        let mut asked = Vec::with_capacity(tasks.len());
        let mut first: Option<p::ModelSpec> = None;
        for task in tasks {
            let inference = Inference::of_method(&task.method_name)?;
            let spec = task.model_spec.unwrap_or_default();
            inference.check_signature(&spec.signature_name)?;
            let plain = p::ModelSpec {
                signature_name: String::new(),
                ..spec
            };
            if first.as_ref().is_some_and(|first| *first != plain) {
                return Err(Error::invalid("all tasks must be of one model and version"));
            }
            first = Some(plain);
            if asked.contains(&inference) {
                return Err(Error::invalid(format!(
                    "two tasks have the method '{}'",
                    short(&task.method_name)
                )));
            }
            asked.push(inference);
        }
        if asked.is_empty() {
            return Err(Error::invalid("tasks is empty"));
        }
        Ok(Self {
            spec: first,
            input,
            asked,
        })
    }
}

fn check_metadata_fields(fields: &[String]) -> Result<()> {
    if fields.is_empty() {
        return Err(Error::invalid("metadata_field must be signature_def"));
    }

    match fields.iter().find(|field| *field != "signature_def") {
        Some(other) => Err(Error::invalid(format!(
            "metadata_field must be signature_def, got '{}'",
            short(other)
        ))),
        None => Ok(()),
    }
}

fn answer(response: &Answered) -> p::PredictResponse {
    let outputs = response.outputs.iter();
    p::PredictResponse {
        outputs: outputs
            .map(|(name, tensor)| (name.to_string(), codec::tensor_to_proto(tensor)))
            .collect(),
        model_spec: Some(spec(&response.model, response.version)),
    }
}

fn spec(name: &ModelName, version: Version) -> p::ModelSpec {
    p::ModelSpec {
        name: name.to_string(),
        version_choice: Some(p::model_spec::VersionChoice::Version(
            version.number() as i64
        )),
        signature_name: SIGNATURE.to_owned(),
    }
}

#[tonic::async_trait]
impl PredictionService for Tfs {
    async fn predict(
        &self,
        request: tonic::Request<p::PredictRequest>,
    ) -> Result<Response<p::PredictResponse>, Status> {
        let answered = self.predict(request).await;
        Ok(answered.map_err(|error| self.0.told(error, Protocol::TfsGrpc))?)
    }

    async fn classify(
        &self,
        request: tonic::Request<p::ClassificationRequest>,
    ) -> Result<Response<p::ClassificationResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let examples = ExampleRequest {
            spec: message.model_spec,
            input: message.input,
            asked: vec![Inference::Classify],
        };
        let encode = |response: &Answered, _, servable: &Servable| {
            Ok(Response::new(p::ClassificationResponse {
                result: Some(inference::classification_result(response, servable)?),
                model_spec: Some(spec(&response.model, response.version)),
            }))
        };
        Ok(self.infer(&metadata, &extensions, examples, encode).await?)
    }

    async fn regress(
        &self,
        request: tonic::Request<p::RegressionRequest>,
    ) -> Result<Response<p::RegressionResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let examples = ExampleRequest {
            spec: message.model_spec,
            input: message.input,
            asked: vec![Inference::Regress],
        };
        let encode = |response: &Answered, _, servable: &Servable| {
            Ok(Response::new(p::RegressionResponse {
                result: Some(inference::regression_result(response, servable)?),
                model_spec: Some(spec(&response.model, response.version)),
            }))
        };
        Ok(self.infer(&metadata, &extensions, examples, encode).await?)
    }

    async fn multi_inference(
        &self,
        request: tonic::Request<p::MultiInferenceRequest>,
    ) -> Result<Response<p::MultiInferenceResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let examples = ExampleRequest::of_tasks(message.tasks, message.input)?;
        let encode = |response: &Answered, asked: Vec<Inference>, servable: &Servable| {
            let results = asked.iter().map(|asked| {
                use p::inference_result::Result as OfTask;
                let result = match asked {
                    Inference::Classify => inference::classification_result(response, servable)
                        .map(OfTask::ClassificationResult),
                    Inference::Regress => inference::regression_result(response, servable)
                        .map(OfTask::RegressionResult),
                };
                Ok(p::InferenceResult {
                    model_spec: Some(spec(&response.model, response.version)),
                    result: Some(result?),
                })
            });
            Ok(Response::new(p::MultiInferenceResponse {
                results: results.collect::<Result<_>>()?,
            }))
        };
        Ok(self.infer(&metadata, &extensions, examples, encode).await?)
    }

    async fn get_model_metadata(
        &self,
        request: tonic::Request<p::GetModelMetadataRequest>,
    ) -> Result<Response<p::GetModelMetadataResponse>, Status> {
        Ok(Response::new(self.metadata(request.get_ref())?))
    }
}

#[tonic::async_trait]
impl ModelService for Tfs {
    async fn get_model_status(
        &self,
        request: tonic::Request<p::GetModelStatusRequest>,
    ) -> Result<Response<p::GetModelStatusResponse>, Status> {
        let target = codec::target(request.get_ref().model_spec.as_ref())?;
        let selector = Some(&target.selector).filter(|s| **s != Selector::Latest);
        let model_version_status = versions(&self.0, &target.model, selector)?
            .into_iter()
            .map(|v| p::ModelVersionStatus {
                version: v.version as i64,
                state: v.state as i32,
                status: Some(p::StatusProto {
                    error_code: v.code as i32,
                    error_message: v.message,
                }),
            })
            .collect();
        Ok(Response::new(p::GetModelStatusResponse {
            model_version_status,
        }))
    }

    async fn handle_reload_config_request(
        &self,
        request: tonic::Request<p::ReloadConfigRequest>,
    ) -> Result<Response<p::ReloadConfigResponse>, Status> {
        reload::reload(&self.0, request.into_inner()).await?;
        Ok(Response::new(p::ReloadConfigResponse {
            status: Some(ok()),
        }))
    }
}

/// Says that a call succeeded.
fn ok() -> p::StatusProto {
    p::StatusProto {
        error_code: tonic::Code::Ok as i32,
        error_message: String::new(),
    }
}

/// The state of one version, in the terms of TensorFlow Serving.
pub(crate) struct VersionState {
    pub version: u64,
    pub state: p::model_version_status::State,
    pub code: tonic::Code,
    pub message: String,
}

/// The states of a model's versions, newest first; of one version if the selector
/// names one.
pub(crate) fn versions(
    front: &Front,
    name: &ModelName,
    selector: Option<&Selector>,
) -> Result<Vec<VersionState>> {
    let only = match selector {
        Some(Selector::Exact(version)) => Some(*version),
        Some(label @ (Selector::Label(_) | Selector::Alias(_))) => {
            let target = Target {
                model: name.clone(),
                selector: label.clone(),
                key: None,
            };
            Some(front.predictor.resolve(&target)?.version)
        }
        Some(Selector::Latest) | None => None,
    };

    let status = front.manager.status();
    let of_model = status
        .iter()
        .rev()
        .filter(|s| s.name == *name && (only.is_none() || s.version == only));

    let found: Vec<VersionState> = of_model.filter_map(state).collect();
    if found.is_empty() {
        let which = match only {
            None => format!("Latest({name})"),
            Some(version) => format!("Specific({name}, {version})"),
        };
        return Err(Error::not_found(format!(
            "Servable not found for request: {which}"
        )));
    }

    Ok(found)
}

/// The state of a version that has a number.
fn state(status: &VersionStatus) -> Option<VersionState> {
    use p::model_version_status::State as Wire;
    let (code, message) = match &status.state {
        ServingState::Failed(reason) => (tonic::Code::FailedPrecondition, reason.clone()),
        _ => (tonic::Code::Ok, String::new()),
    };

    Some(VersionState {
        version: status.version?.number(),
        state: match &status.state {
            ServingState::Settling => Wire::Start,
            ServingState::Loading => Wire::Loading,
            ServingState::Ready => Wire::Available,
            ServingState::Draining => Wire::Unloading,
            ServingState::Unloaded | ServingState::Failed(_) => Wire::End,
        },
        code,
        message,
    })
}
