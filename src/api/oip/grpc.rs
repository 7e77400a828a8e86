//! Open Inference Protocol v2 over gRPC.

use super::answer::{encoded, target};
use super::client_settings::{self, LogValue};
use super::codec::{self, AnswerForm, Contents};
use super::options::OipOptions;
use super::shared_memory::Region;
use super::stream::{self, InferStream};
use super::{describe, load, read, wire};
use crate::api::Front;
use crate::api::decoded_size;
use crate::api::headers::RequestHeaders;
use crate::api::inbound::{Arrived, Begun, Inbound, malformed};
use crate::api::unary::answer::UnaryAnswer;
use crate::core::error::{Error, Result, short};
use crate::core::model::ModelName;
use crate::core::request::{Protocol, Response as PredictResponse, Target};
use crate::proto::inference as p;
use crate::proto::inference::grpc_inference_service_server::GrpcInferenceService;
use crate::serve::servable::Servable;
use bytes::Bytes;
use prost::Message;
use std::collections::HashMap;
use std::sync::Arc;
use tonic::{Response, Status};

/// The service; cheap to clone.
#[derive(Clone)]
pub(crate) struct Oip(pub Arc<Front>);

/// Begins ModelInfer on the data path.
pub(crate) fn begin<'c>(
    inbound: Inbound<'c, '_>,
    message: Bytes,
    options: &OipOptions,
) -> Result<Begun<'c, AnswerForm>> {
    let outline = read::outline(&message).unwrap_or_default();
    if outline.model.is_empty() {
        // It is malformed, or says that no model is named.
        let message = decoded(message).map_err(|error| inbound.refused(error))?;
        return inbound
            .admit(target(&message))?
            .begin(codec::decode(message, options));
    }

    let admitted = inbound.admit(Target::parse(outline.model, outline.version))?;
    admitted.begin(match outline.is_plain {
        true => read::read(&message, &outline),
        // What is over a limit is not decoded.
        false => outline
            .check_limits()
            .and_then(|()| decoded(message.clone()))
            .and_then(|message| codec::decode(message, options)),
    })
}

fn decoded(message: Bytes) -> Result<p::ModelInferRequest> {
    decoded_size::check("inference.ModelInferRequest", &message)?;
    p::ModelInferRequest::decode(message).map_err(|e| malformed(&e))
}

/// Writes the answer of the data path.
pub(crate) fn encode(
    response: &PredictResponse,
    form: AnswerForm,
    servable: &Servable,
) -> Result<UnaryAnswer> {
    match (&form.wishes, form.contents) {
        (None, Contents::Raw) => wire::encode_raw(response),
        _ => UnaryAnswer::whole(&encoded(response, &form, servable)?),
    }
}

impl Oip {
    async fn infer(
        &self,
        request: tonic::Request<p::ModelInferRequest>,
    ) -> Result<Response<p::ModelInferResponse>> {
        let (metadata, extensions, message) = request.into_parts();
        let inbound = Inbound {
            predictor: &self.0.predictor,
            protocol: Protocol::OipGrpc,
            headers: RequestHeaders::read(metadata.as_ref()),
            arrived: Arrived::of(&extensions),
        };
        let encode = |response: &PredictResponse, form: AnswerForm, servable: &Servable| {
            encoded(response, &form, servable).map(Response::new)
        };
        let admitted = inbound.admit(target(&message))?;
        let decoded = codec::decode(message, &self.0.oip);
        admitted.predict(decoded, encode).await
    }

    fn servable(&self, name: &str, version: &str) -> Result<Arc<Servable>> {
        self.0.predictor.resolve(&Target::parse(name, version)?)
    }
}

type GrpcReply<T> = std::result::Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Oip {
    async fn server_live(
        &self,
        _: tonic::Request<p::ServerLiveRequest>,
    ) -> GrpcReply<p::ServerLiveResponse> {
        Ok(Response::new(p::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: tonic::Request<p::ServerReadyRequest>,
    ) -> GrpcReply<p::ServerReadyResponse> {
        Ok(Response::new(p::ServerReadyResponse {
            ready: self.0.predictor.is_ready(),
        }))
    }

    async fn model_ready(
        &self,
        request: tonic::Request<p::ModelReadyRequest>,
    ) -> GrpcReply<p::ModelReadyResponse> {
        let message = request.into_inner();
        let target = Target::parse(&message.name, &message.version)?;
        Ok(Response::new(p::ModelReadyResponse {
            ready: self.0.predictor.is_model_ready(&target),
        }))
    }

    async fn server_metadata(
        &self,
        _: tonic::Request<p::ServerMetadataRequest>,
    ) -> GrpcReply<p::ServerMetadataResponse> {
        Ok(Response::new(p::ServerMetadataResponse {
            name: self.0.oip.server_name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: describe::extensions(&self.0),
        }))
    }

    async fn model_metadata(
        &self,
        request: tonic::Request<p::ModelMetadataRequest>,
    ) -> GrpcReply<p::ModelMetadataResponse> {
        let message = request.into_inner();
        let servable = self.servable(&message.name, &message.version)?;
        let table = self.0.predictor.routes().table();
        Ok(Response::new(describe::metadata(&servable, &table)))
    }

    async fn model_infer(
        &self,
        request: tonic::Request<p::ModelInferRequest>,
    ) -> GrpcReply<p::ModelInferResponse> {
        let answered = self.infer(request).await;
        Ok(answered.map_err(|error| self.0.told(error, Protocol::OipGrpc))?)
    }

    type ModelStreamInferStream = InferStream;

    async fn model_stream_infer(
        &self,
        request: tonic::Request<tonic::Streaming<p::ModelInferRequest>>,
    ) -> GrpcReply<InferStream> {
        Ok(Response::new(stream::answers(Arc::clone(&self.0), request)))
    }

    async fn model_config(
        &self,
        request: tonic::Request<p::ModelConfigRequest>,
    ) -> GrpcReply<p::ModelConfigResponse> {
        let message = request.into_inner();
        let servable = self.servable(&message.name, &message.version)?;
        Ok(Response::new(p::ModelConfigResponse {
            config: Some(describe::config(&servable)),
        }))
    }

    async fn model_statistics(
        &self,
        request: tonic::Request<p::ModelStatisticsRequest>,
    ) -> GrpcReply<p::ModelStatisticsResponse> {
        let message = request.into_inner();
        let model_stats = statistics(&self.0, &message.name, &message.version)?;
        Ok(Response::new(p::ModelStatisticsResponse { model_stats }))
    }

    async fn system_shared_memory_status(
        &self,
        request: tonic::Request<p::SystemSharedMemoryStatusRequest>,
    ) -> GrpcReply<p::SystemSharedMemoryStatusResponse> {
        let regions = self.0.oip.regions.status(&request.into_inner().name)?;
        let status = |region: Arc<Region>| {
            let status = p::system_shared_memory_status_response::RegionStatus {
                name: region.name.clone(),
                key: region.key.clone(),
                offset: region.offset,
                byte_size: region.bytes,
            };
            (region.name.clone(), status)
        };
        Ok(Response::new(p::SystemSharedMemoryStatusResponse {
            regions: regions.into_iter().map(status).collect(),
        }))
    }

    async fn system_shared_memory_register(
        &self,
        request: tonic::Request<p::SystemSharedMemoryRegisterRequest>,
    ) -> GrpcReply<p::SystemSharedMemoryRegisterResponse> {
        let asked = request.into_inner();
        let regions = &self.0.oip.regions;
        regions.register(&asked.name, &asked.key, asked.offset, asked.byte_size)?;
        Ok(Response::new(p::SystemSharedMemoryRegisterResponse {}))
    }

    async fn system_shared_memory_unregister(
        &self,
        request: tonic::Request<p::SystemSharedMemoryUnregisterRequest>,
    ) -> GrpcReply<p::SystemSharedMemoryUnregisterResponse> {
        self.0.oip.regions.unregister(&request.into_inner().name)?;
        Ok(Response::new(p::SystemSharedMemoryUnregisterResponse {}))
    }

    async fn cuda_shared_memory_status(
        &self,
        request: tonic::Request<p::CudaSharedMemoryStatusRequest>,
    ) -> GrpcReply<p::CudaSharedMemoryStatusResponse> {
        match request.into_inner().name.as_str() {
            "" => Ok(Response::new(p::CudaSharedMemoryStatusResponse {})),
            _ => Err(no_cuda_memory().into()),
        }
    }

    async fn cuda_shared_memory_register(
        &self,
        _: tonic::Request<p::CudaSharedMemoryRegisterRequest>,
    ) -> GrpcReply<p::CudaSharedMemoryRegisterResponse> {
        Err(no_cuda_memory().into())
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: tonic::Request<p::CudaSharedMemoryUnregisterRequest>,
    ) -> GrpcReply<p::CudaSharedMemoryUnregisterResponse> {
        // There is none, so none is left. Clients of Triton begin with this call.
        Ok(Response::new(p::CudaSharedMemoryUnregisterResponse {}))
    }

    async fn repository_index(
        &self,
        request: tonic::Request<p::RepositoryIndexRequest>,
    ) -> GrpcReply<p::RepositoryIndexResponse> {
        let message = request.into_inner();
        refuse_repository(&message.repository_name)?;
        let models = describe::index(&self.0.manager, message.ready);
        Ok(Response::new(p::RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: tonic::Request<p::RepositoryModelLoadRequest>,
    ) -> GrpcReply<p::RepositoryModelLoadResponse> {
        let message = request.into_inner();
        let name = model_named(message.repository_name, message.model_name)?;
        let supply = |name: &ModelName| load::of_message(name, message.parameters);
        load::load(&self.0, name, supply).await?;
        Ok(Response::new(p::RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: tonic::Request<p::RepositoryModelUnloadRequest>,
    ) -> GrpcReply<p::RepositoryModelUnloadResponse> {
        let message = request.into_inner();
        let name = model_named(message.repository_name, message.model_name)?;
        self.0.manager.unload(name).await?;
        Ok(Response::new(p::RepositoryModelUnloadResponse {}))
    }

    async fn trace_setting(
        &self,
        request: tonic::Request<p::TraceSettingRequest>,
    ) -> GrpcReply<p::TraceSettingResponse> {
        let message = request.into_inner();
        if !message.model_name.is_empty() {
            self.servable(&message.model_name, "")?;
        }
        let changes = message.settings.into_iter();
        let changes: Vec<_> = changes
            .map(|(name, setting)| (name, setting.value))
            .collect();
        let settings = client_settings::trace(&self.0, &message.model_name, &changes)?;
        let setting = |(name, value): (&str, Vec<String>)| {
            (
                name.to_owned(),
                p::trace_setting_response::SettingValue { value },
            )
        };
        Ok(Response::new(p::TraceSettingResponse {
            settings: settings.into_iter().map(setting).collect(),
        }))
    }

    async fn log_settings(
        &self,
        request: tonic::Request<p::LogSettingsRequest>,
    ) -> GrpcReply<p::LogSettingsResponse> {
        let changes = log_changes(request.into_inner().settings)?;
        let settings = client_settings::log(&self.0, changes)?;
        Ok(Response::new(p::LogSettingsResponse {
            settings: settings.into_iter().map(log_setting).collect(),
        }))
    }
}

/// Reads the settings of a call about the log.
fn log_changes(
    settings: HashMap<String, p::log_settings_request::SettingValue>,
) -> Result<Vec<(String, LogValue)>> {
    use p::log_settings_request::setting_value::ParameterChoice;
    let setting = |(name, value): (String, p::log_settings_request::SettingValue)| {
        let value = match value.parameter_choice {
            Some(ParameterChoice::BoolParam(on)) => LogValue::Flag(on),
            Some(ParameterChoice::Uint32Param(number)) => LogValue::Number(number.into()),
            Some(ParameterChoice::StringParam(text)) => LogValue::Text(text),
            None => {
                return Err(Error::invalid(format!(
                    "setting '{}' has no value",
                    short(&name)
                )));
            }
        };
        Ok((name, value))
    };
    settings.into_iter().map(setting).collect()
}

/// One setting of an answer about the log.
fn log_setting(
    (name, value): (&'static str, LogValue),
) -> (String, p::log_settings_response::SettingValue) {
    use p::log_settings_response::setting_value::ParameterChoice;
    let value = match value {
        LogValue::Flag(on) => ParameterChoice::BoolParam(on),
        LogValue::Number(number) => {
            ParameterChoice::Uint32Param(u32::try_from(number).unwrap_or(u32::MAX))
        }
        LogValue::Text(text) => ParameterChoice::StringParam(text),
    };
    let value = p::log_settings_response::SettingValue {
        parameter_choice: Some(value),
    };
    (name.to_owned(), value)
}

/// Statistics of one version, of every version of a model, or of all.
pub(crate) fn statistics(
    front: &Front,
    name: &str,
    version: &str,
) -> Result<Vec<p::ModelStatistics>> {
    let table = front.predictor.routes().table();
    if name.is_empty() {
        let mut all: Vec<_> = table
            .models
            .values()
            .flat_map(|m| m.versions.values())
            .collect();
        all.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        return Ok(all.into_iter().map(|s| describe::statistics(s)).collect());
    }

    let target = Target::parse(name, version)?;
    let servable = table.resolve(&target)?;
    if !version.is_empty() {
        return Ok(vec![describe::statistics(&servable)]);
    }
    let routes = table.models.get(&target.model);
    Ok(routes
        .into_iter()
        .flat_map(|r| r.versions.values())
        .map(|s| describe::statistics(s))
        .collect())
}

/// The error of calls about the memory of GPUs.
pub(crate) fn no_cuda_memory() -> Error {
    Error::unimplemented(
        "CUDA shared memory is not supported; send tensors in messages or in system shared memory",
    )
}

fn refuse_repository(name: &str) -> Result<()> {
    if name.is_empty() {
        Ok(())
    } else {
        Err(Error::not_found(
            "the repository name must be empty: there is one repository",
        ))
    }
}

/// KServe's clients put the model name into field 1, Triton's into field 2.
fn model_named(first: String, second: String) -> Result<ModelName> {
    match (first.is_empty(), second.is_empty()) {
        (_, true) => ModelName::parse(&first),
        (true, false) => ModelName::parse(&second),
        (false, false) => Err(Error::not_found(
            "the repository name must be empty: there is one repository",
        )),
    }
}
