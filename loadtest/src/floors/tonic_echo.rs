//! The yardstick of the wire: a bare tonic server that answers ModelInfer with
//! its input's own bytes. Knows no model and refuses every other call.

use crate::Result;
use ortus::proto::inference as p;
use p::grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer};
use p::model_infer_response::InferOutputTensor;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request, Response, Status};

/// Serves on `address` until the process ends; prints `ready: ADDR:PORT` once.
pub(crate) fn serve(address: &str, threads: usize) -> Result<()> {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder
        .worker_threads(threads.max(1))
        .enable_all()
        .build()?
        .block_on(async {
            let listener = tokio::net::TcpListener::bind(address).await?;
            println!("ready: {}", listener.local_addr()?);
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let service = GrpcInferenceServiceServer::new(Echo).max_decoding_message_size(64 << 20);
            Ok(Server::builder()
                .serve_with_incoming(service, incoming)
                .await?)
        })
}

struct Echo;

/// Calls that an echo has no answer to.
macro_rules! refuse {
    ($($method:ident: $request:ident -> $response:ident;)*) => {$(
        fn $method<'a, 'b>(
            &'a self,
            _: Request<p::$request>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<p::$response>, Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Err(Status::unimplemented("an echo only infers")) })
        }
    )*};
}

#[tonic::async_trait]
impl GrpcInferenceService for Echo {
    async fn model_infer(
        &self,
        request: Request<p::ModelInferRequest>,
    ) -> Result<Response<p::ModelInferResponse>, Status> {
        let asked = request.into_inner();
        let outputs = asked.inputs.into_iter().map(|input| InferOutputTensor {
            name: input.name,
            datatype: input.datatype,
            shape: input.shape,
            contents: input.contents,
            ..Default::default()
        });
        Ok(Response::new(p::ModelInferResponse {
            model_name: asked.model_name,
            model_version: asked.model_version,
            id: asked.id,
            outputs: outputs.collect(),
            raw_output_contents: asked.raw_input_contents,
            ..Default::default()
        }))
    }

    type ModelStreamInferStream = tonic::codegen::BoxStream<p::ModelStreamInferResponse>;

    async fn model_stream_infer(
        &self,
        _: Request<tonic::Streaming<p::ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        Err(Status::unimplemented("an echo only infers"))
    }

    refuse! {
        server_live: ServerLiveRequest -> ServerLiveResponse;
        server_ready: ServerReadyRequest -> ServerReadyResponse;
        model_ready: ModelReadyRequest -> ModelReadyResponse;
        server_metadata: ServerMetadataRequest -> ServerMetadataResponse;
        model_metadata: ModelMetadataRequest -> ModelMetadataResponse;
        model_config: ModelConfigRequest -> ModelConfigResponse;
        model_statistics: ModelStatisticsRequest -> ModelStatisticsResponse;
        repository_index: RepositoryIndexRequest -> RepositoryIndexResponse;
        repository_model_load: RepositoryModelLoadRequest -> RepositoryModelLoadResponse;
        repository_model_unload: RepositoryModelUnloadRequest -> RepositoryModelUnloadResponse;
        system_shared_memory_status: SystemSharedMemoryStatusRequest -> SystemSharedMemoryStatusResponse;
        system_shared_memory_register: SystemSharedMemoryRegisterRequest -> SystemSharedMemoryRegisterResponse;
        system_shared_memory_unregister: SystemSharedMemoryUnregisterRequest -> SystemSharedMemoryUnregisterResponse;
        trace_setting: TraceSettingRequest -> TraceSettingResponse;
        log_settings: LogSettingsRequest -> LogSettingsResponse;
        cuda_shared_memory_status: CudaSharedMemoryStatusRequest -> CudaSharedMemoryStatusResponse;
        cuda_shared_memory_register: CudaSharedMemoryRegisterRequest -> CudaSharedMemoryRegisterResponse;
        cuda_shared_memory_unregister: CudaSharedMemoryUnregisterRequest -> CudaSharedMemoryUnregisterResponse;
    }
}
