//! Open Inference Protocol v2 over gRPC.

use super::{codec, describe};
use crate::api::serve::Arrived;
use crate::api::{
    Front, PREDICTION_HEADER, TRACED_HEADER, VERSION_HEADER, context, deadline, earlier, route_key,
};
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::core::request::{Protocol, Request, Target};
use crate::proto::inference as p;
use crate::proto::inference::grpc_inference_service_server::GrpcInferenceService;
use crate::serve::servable::Servable;
use std::sync::Arc;
use std::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

/// The service; cheap to clone.
#[derive(Clone)]
pub(crate) struct Oip(pub Arc<Front>);

impl Oip {
    async fn infer(
        &self,
        request: tonic::Request<p::ModelInferRequest>,
    ) -> Result<Response<p::ModelInferResponse>> {
        let (metadata, extensions, message) = request.into_parts();
        let arrived = extensions
            .get::<Arrived>()
            .map_or_else(Instant::now, |a| a.0);
        let predictor = &self.0.predictor;
        let parsed = (|| {
            let key = match route_key(metadata.as_ref()) {
                [] => codec::route_key(&message)?.as_bytes(),
                key => key,
            };
            let target = Target::parse(&message.model_name, &message.model_version)?.routed_by(key);
            let asked = deadline(metadata.as_ref(), arrived)?;
            // A request for nothing that serves is refused before its tensors are decoded.
            let servable = predictor.resolve(&target)?;
            let decoded = codec::decode(message)?;
            let raw = decoded.raw;
            let asked = earlier(asked, decoded.timeout_us, arrived);
            let request = Request {
                id: decoded.id,
                protocol: Protocol::OipGrpc,
                arrived,
                deadline: asked,
                priority: decoded.priority,
                inputs: decoded.inputs,
                outputs: decoded.outputs,
                trace: context(metadata.as_ref()),
            };
            Ok((servable, request, raw))
        })();
        let (servable, request, raw) =
            parsed.inspect_err(|error| predictor.refused(Protocol::OipGrpc, error))?;
        let answer = predictor.predict_on(&servable, request).await?;
        let (version, id, trace) = (answer.version, answer.prediction_id, answer.trace.clone());
        let mut response = Response::new(codec::encode(answer, raw));
        stamp(
            response.metadata_mut(),
            version.number(),
            id,
            trace.as_deref(),
        );
        Ok(response)
    }

    fn servable(&self, name: &str, version: &str) -> Result<Arc<Servable>> {
        self.0.predictor.resolve(&Target::parse(name, version)?)
    }
}

/// Names the version that served and the prediction in the answer's headers.
pub(crate) fn stamp(metadata: &mut MetadataMap, version: u64, id: uuid::Uuid, trace: Option<&str>) {
    metadata.insert(VERSION_HEADER, version.into());
    let mut text = uuid::Uuid::encode_buffer();
    if let Ok(value) = id.hyphenated().encode_lower(&mut text).parse() {
        metadata.insert(PREDICTION_HEADER, value);
    }
    if let Some(value) = trace.and_then(|t| t.parse().ok()) {
        metadata.insert(TRACED_HEADER, value);
    }
}

type Answer<T> = std::result::Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Oip {
    async fn server_live(
        &self,
        _: tonic::Request<p::ServerLiveRequest>,
    ) -> Answer<p::ServerLiveResponse> {
        Ok(Response::new(p::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: tonic::Request<p::ServerReadyRequest>,
    ) -> Answer<p::ServerReadyResponse> {
        Ok(Response::new(p::ServerReadyResponse {
            ready: self.0.predictor.is_ready(),
        }))
    }

    async fn model_ready(
        &self,
        request: tonic::Request<p::ModelReadyRequest>,
    ) -> Answer<p::ModelReadyResponse> {
        let asked = request.into_inner();
        let target = Target::parse(&asked.name, &asked.version)?;
        Ok(Response::new(p::ModelReadyResponse {
            ready: self.0.predictor.resolve(&target).is_ok(),
        }))
    }

    async fn server_metadata(
        &self,
        _: tonic::Request<p::ServerMetadataRequest>,
    ) -> Answer<p::ServerMetadataResponse> {
        Ok(Response::new(p::ServerMetadataResponse {
            name: "ortus".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: describe::EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: tonic::Request<p::ModelMetadataRequest>,
    ) -> Answer<p::ModelMetadataResponse> {
        let asked = request.into_inner();
        let servable = self.servable(&asked.name, &asked.version)?;
        let table = self.0.predictor.routes().table();
        Ok(Response::new(describe::metadata(&servable, &table)))
    }

    async fn model_infer(
        &self,
        request: tonic::Request<p::ModelInferRequest>,
    ) -> Answer<p::ModelInferResponse> {
        Ok(self.infer(request).await?)
    }

    async fn model_config(
        &self,
        request: tonic::Request<p::ModelConfigRequest>,
    ) -> Answer<p::ModelConfigResponse> {
        let asked = request.into_inner();
        let servable = self.servable(&asked.name, &asked.version)?;
        Ok(Response::new(p::ModelConfigResponse {
            config: Some(describe::config(&servable)),
        }))
    }

    async fn model_statistics(
        &self,
        request: tonic::Request<p::ModelStatisticsRequest>,
    ) -> Answer<p::ModelStatisticsResponse> {
        let asked = request.into_inner();
        let model_stats = statistics(&self.0, &asked.name, &asked.version)?;
        Ok(Response::new(p::ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: tonic::Request<p::RepositoryIndexRequest>,
    ) -> Answer<p::RepositoryIndexResponse> {
        let asked = request.into_inner();
        refuse_repository(&asked.repository_name)?;
        let models = describe::index(&self.0.manager.status(), asked.ready);
        Ok(Response::new(p::RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: tonic::Request<p::RepositoryModelLoadRequest>,
    ) -> Answer<p::RepositoryModelLoadResponse> {
        let asked = request.into_inner();
        refuse_load_parameters(asked.parameters.keys())?;
        let name = model_asked(asked.repository_name, asked.model_name)?;
        self.0.manager.load(name).await?;
        Ok(Response::new(p::RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: tonic::Request<p::RepositoryModelUnloadRequest>,
    ) -> Answer<p::RepositoryModelUnloadResponse> {
        let asked = request.into_inner();
        let name = model_asked(asked.repository_name, asked.model_name)?;
        self.0.manager.unload(name).await?;
        Ok(Response::new(p::RepositoryModelUnloadResponse {}))
    }
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

/// Refuses to load what the request itself brings: file contents and
/// configuration come from the model directory alone.
pub(crate) fn refuse_load_parameters<'k>(mut keys: impl Iterator<Item = &'k String>) -> Result<()> {
    match keys.next() {
        Some(key) => Err(Error::invalid(format!(
            "load parameter '{}' is refused: files and configuration come from the model directory",
            crate::core::model::short(key)
        ))),
        None => Ok(()),
    }
}

fn refuse_repository(name: &str) -> Result<()> {
    if name.is_empty() {
        Ok(())
    } else {
        Err(Error::not_found(
            "there is one repository here, without a name",
        ))
    }
}

/// KServe's clients put the model name into field 1, Triton's into field 2.
fn model_asked(first: String, second: String) -> Result<ModelName> {
    match (first.is_empty(), second.is_empty()) {
        (_, true) => ModelName::parse(&first),
        (true, false) => ModelName::parse(&second),
        (false, false) => Err(Error::not_found(
            "there is one repository here, without a name",
        )),
    }
}
