//! The gRPC health service: reports that the server is ready, or that it is not.

use crate::api::stop::Stop;
use tokio::sync::watch;
use tonic_health::ServingStatus::{NotServing, Serving};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// The services whose health is reported; the empty name stands for the whole server.
const SERVICES: [&str; 3] = [
    "",
    "inference.GRPCInferenceService",
    "tensorflow.serving.PredictionService",
];

/// Starts to follow readiness, and returns the service that answers health checks.
pub(super) fn start(
    ready: watch::Receiver<bool>,
    stop: &Stop,
    background: &tokio::runtime::Runtime,
) -> HealthServer<HealthService> {
    let reporter = HealthReporter::new();
    let service = HealthService::from_health_reporter(reporter.clone());
    background.spawn(report(reporter.clone(), ready));
    background.spawn(end_watches(reporter, stop.clone()));

    HealthServer::new(service)
}

/// Reports readiness until the server ends.
async fn report(reporter: HealthReporter, mut ready: watch::Receiver<bool>) {
    loop {
        let status = if *ready.borrow_and_update() {
            Serving
        } else {
            NotServing
        };
        for service in SERVICES {
            reporter.set_service_status(service, status).await;
        }

        if ready.changed().await.is_err() {
            return;
        }
    }
}

/// Ends the answers of `Watch` when the server stops. They have no end, so the stop would wait for
/// their clients.
async fn end_watches(mut reporter: HealthReporter, stop: Stop) {
    stop.gently.cancelled().await;
    for service in SERVICES {
        // Perhaps `report` has not said it yet.
        reporter.set_service_status(service, NotServing).await;
        reporter.clear_service_status(service).await;
        reporter.set_service_status(service, NotServing).await;
    }
}
