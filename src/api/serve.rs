//! From a request's path to the protocol that answers it. One instance per I/O
//! thread, so that nothing is shared between cores but the front.

use super::body::{BodyDeadline, Metered};
use super::headers::RequestHeaders;
use super::inbound::Arrived;
use super::labels::LabelService;
use super::oip::grpc::Oip;
use super::oip::stream;
use super::request_body::RequestBody;
use super::rest::reply::Reply;
use super::rest::route::{Route, route};
use super::tfs::grpc::Tfs;
use super::unread::{self, UnreadBody};
use super::{Charge, Front, RequestCharge, rest};
use crate::core::error::Error;
use crate::core::request::{Protocol, TIMEOUT_MAX};
use crate::proto::feedback::feedback_server::FeedbackServer;
use crate::proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer as OipServer;
use crate::proto::tensorflow::serving::model_service_server::ModelServiceServer;
use crate::proto::tensorflow::serving::prediction_service_server::PredictionServiceServer;
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::CompressionEncoding::Gzip;
use tonic_health::pb::health_server::HealthServer;
use tower_service::Service;

/// Size of a label in a request, its JSON or message around it included.
const LABEL_BYTES_MAX: usize = 512;

/// The calls whose tensors may take more than their messages.
const EXAMPLES: &str = "/tensorflow.serving.PredictionService/";

/// Everything that answers on a data listener.
pub(crate) struct Router {
    front: Arc<Front>,
    plain: Servers,
    /// The same services with gzip responses, for clients whose requests were
    /// compressed.
    gzip: Servers,
    health: HealthServer<tonic_health::server::HealthService>,
    /// When to refuse requests whose body is still arriving. Of this thread, as a token has a lock.
    bodies: Arc<CancellationToken>,
}

struct Servers {
    oip: OipServer<Oip>,
    predict: PredictionServiceServer<Tfs>,
    model: ModelServiceServer<Tfs>,
    feedback: FeedbackServer<LabelService>,
}

impl Router {
    /// Builds the servers over one front.
    pub(crate) fn new(
        front: Arc<Front>,
        health: HealthServer<tonic_health::server::HealthService>,
    ) -> Self {
        let max = front.limits.message_bytes_max;
        let oip = OipServer::new(Oip(Arc::clone(&front)))
            .max_decoding_message_size(max)
            .accept_compressed(Gzip);
        let tfs = Tfs(Arc::clone(&front));
        let predict = PredictionServiceServer::new(tfs.clone())
            .max_decoding_message_size(max)
            .accept_compressed(Gzip);
        let model = ModelServiceServer::new(tfs).accept_compressed(Gzip);
        // A decoded label takes about 100 bytes of memory, even if it has two in
        // the request.
        let labels = front
            .labels
            .as_ref()
            .map_or(0, |labels| labels.labels_max())
            .saturating_mul(LABEL_BYTES_MAX);
        let feedback = FeedbackServer::new(LabelService(Arc::clone(&front)))
            .max_decoding_message_size(max.min(labels.max(LABEL_BYTES_MAX)));
        let feedback = feedback.accept_compressed(Gzip);

        let plain = Servers {
            oip,
            predict,
            model,
            feedback,
        };

        let gzip = Servers {
            oip: plain.oip.clone().send_compressed(Gzip),
            predict: plain.predict.clone().send_compressed(Gzip),
            model: plain.model.clone().send_compressed(Gzip),
            feedback: plain.feedback.clone().send_compressed(Gzip),
        };

        Self {
            bodies: Arc::new(front.stop.bodies.child_token()),
            front,
            plain,
            gzip,
            health,
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<RequestBody>) -> Response<Body> {
        let arrived = Instant::now();
        let charge = Arc::new(Charge::new(Arc::clone(&self.front)));
        let headers = RequestHeaders::read(request.headers());
        let read_timeout = self.front.limits.read_timeout;
        let is_stream = request.uri().path() == stream::PATH;
        // A client may be silent on a stream for as long as it likes.
        let read_timeout = if is_stream { TIMEOUT_MAX } else { read_timeout };
        let until = BodyDeadline::new(&headers, arrived, read_timeout, &self.bodies);

        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(Arrived(arrived));
        if is_stream || parts.uri.path().starts_with(EXAMPLES) {
            parts.extensions.insert(RequestCharge(Arc::clone(&charge)));
        }
        let is_http1 = parts.version < http::Version::HTTP_2;
        let mut body = Metered::new(body, Arc::clone(&charge), until);
        let unread = UnreadBody::of(&parts, &mut body);
        let request = Request::from_parts(parts, body);
        let servers = match request.headers().get("grpc-encoding") {
            Some(encoding) if encoding == "gzip" => &self.gzip,
            _ => &self.plain,
        };
        let path = request.uri().path();
        let answer = match path
            .get(1..)
            .and_then(|p| p.split_once('/'))
            .map(|(service, _)| service)
        {
            Some("inference.GRPCInferenceService") => servers.oip.clone().call(request).await,
            Some("tensorflow.serving.PredictionService") => {
                servers.predict.clone().call(request).await
            }
            Some("tensorflow.serving.ModelService") => servers.model.clone().call(request).await,
            Some("ortus.feedback.v1.Feedback") => servers.feedback.clone().call(request).await,
            Some("grpc.health.v1.Health") => self.health.clone().call(request).await,
            Some("grpc.reflection.v1.ServerReflection") => reflect_v1().call(request).await,
            Some("grpc.reflection.v1alpha.ServerReflection") => {
                reflect_v1alpha().call(request).await
            }
            _ if is_grpc(&request) => {
                // What is left of its body is known once it is dropped.
                drop(request);
                Ok(tonic::Status::unimplemented("no such service").into_http())
            }
            // On the heap, or the task of each gRPC request would be as large as this one's,
            // and is moved when it is spawned.
            _ => Ok(Box::pin(rest::answer(&self.front, request, arrived, &charge)).await),
        };

        drop(charge);
        let mut answer = answer.unwrap_or_else(|never: Infallible| match never {});
        unread.settle(&mut answer, &self.front).await;
        if is_http1 && self.front.stop.begun.load(Ordering::Relaxed) {
            unread::announce_close(&mut answer);
        }
        answer
    }

    /// Answers one request of a connection that was opened while the server stops: health, and
    /// for everything else that the client should try another server.
    pub(crate) async fn answer_while_stopping(
        &self,
        request: Request<RequestBody>,
    ) -> Response<Body> {
        let is_http1 = request.version() < http::Version::HTTP_2;
        let mut answer = if asks_for_health(&request) {
            self.answer(request).await
        } else {
            // The body stays unread. The answer announces the close, and the connection lingers.
            self.refuse(&request)
        };

        if is_http1 {
            unread::announce_close(&mut answer);
        }
        answer
    }

    fn refuse(&self, request: &Request<RequestBody>) -> Response<Body> {
        let error = Error::unavailable("the server is stopping; send the request again");
        let is_grpc = is_grpc(request);
        let protocol = protocol(request.uri().path(), is_grpc);
        self.front.predictor.refused(protocol, &error);

        if is_grpc {
            return tonic::Status::from(error).into_http();
        }
        Reply::error(&error).into_http(request.headers())
    }
}

/// The protocol of a path, for the count of refused requests.
fn protocol(path: &str, is_grpc: bool) -> Protocol {
    match (
        is_grpc,
        path.starts_with("/tensorflow."),
        path.starts_with("/v2"),
    ) {
        (true, true, _) => Protocol::TfsGrpc,
        (true, false, _) => Protocol::OipGrpc,
        (false, _, true) => Protocol::OipRest,
        (false, _, false) => Protocol::TfsRest,
    }
}

/// Tells whether a request asks for health or readiness, which a stopping server still answers.
fn asks_for_health<B>(request: &Request<B>) -> bool {
    match request.uri().path() {
        "/inference.GRPCInferenceService/ServerLive"
        | "/inference.GRPCInferenceService/ServerReady"
        | "/inference.GRPCInferenceService/ModelReady" => true,
        path if path.starts_with("/grpc.health.v1.Health/") => true,
        path => matches!(
            route(request.method(), path),
            Ok(Route::Live | Route::Ready | Route::ModelReady(..))
        ),
    }
}

/// Tells whether a request is of gRPC.
pub(super) fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    kind.is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

macro_rules! reflection {
    ($name:ident, $version:ident, $build:ident) => {
        fn $name() -> tonic_reflection::server::$version::ServerReflectionServer<
            impl tonic_reflection::server::$version::ServerReflection,
        > {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(crate::proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .$build()
                .expect("the descriptors were compiled with this program")
        }
    };
}
reflection!(reflect_v1, v1, build_v1);
reflection!(reflect_v1alpha, v1alpha, build_v1alpha);
