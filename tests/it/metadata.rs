//! What a server reports of its models: metadata, configuration, status, statistics and
//! health, and the operator API's list.

use crate::support::samples::raw_request;
use crate::support::{Directory, MODELS, Server, http};
use ortus::proto::inference as oip;

#[tokio::test]
async fn a_model_is_described_by_every_protocol() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    check_open_inference(&server);
    check_tensorflow_serving(&server);
    check_statistics(&server).await;
    check_health(&server).await;
}

fn check_open_inference(server: &Server) {
    let metadata = server.get("/v2/models/digits").json();
    assert_eq!(
        metadata["inputs"][0]["shape"],
        serde_json::json!([-1, 1, 8, 8])
    );
    assert_eq!(metadata["versions"], serde_json::json!(["1"]));

    let config = server.get("/v2/models/digits/config").json();
    assert_eq!(
        (&config["max_batch_size"], &config["input"][0]["dims"]),
        (&64.into(), &serde_json::json!([1, 8, 8]))
    );
}

fn check_tensorflow_serving(server: &Server) {
    let status = server.get("/v1/models/digits").json();
    assert_eq!(status["model_version_status"][0]["state"], "AVAILABLE");
    assert_eq!(status["model_version_status"][0]["version"], "1");

    let signature = server.get("/v1/models/digits/metadata").json();
    let inputs =
        &signature["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"];
    assert_eq!(inputs["image"]["dtype"], "DT_FLOAT");
}

/// One request of three rows is counted as one execution.
async fn check_statistics(server: &Server) {
    let mut client = server.grpc().await;
    client
        .model_infer(raw_request("digits"))
        .await
        .expect("served");

    let asked = oip::ModelStatisticsRequest {
        name: "digits".to_owned(),
        version: String::new(),
    };
    let statistics = client
        .model_statistics(asked)
        .await
        .expect("served")
        .into_inner()
        .model_stats;
    assert_eq!(
        (statistics[0].inference_count, statistics[0].execution_count),
        (3, 1)
    );
    assert_eq!(
        server.metric("ortus_requests_total{model=\"digits\",outcome=\"ok\",protocol=\"oip_grpc\""),
        Some(1.0)
    );
}

async fn check_health(server: &Server) {
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel().await);
    let serving = health
        .check(tonic_health::pb::HealthCheckRequest::default())
        .await
        .expect("served")
        .into_inner();
    assert_eq!(serving.status, tonic_health::ServingStatus::Serving as i32);
}

#[test]
fn the_operator_api_lists_models_to_operators_only() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    assert_eq!(
        http(&server.operator, "GET", "/v1/models", &[], b"").status,
        403
    );
    let header = [("ortus-operator", "1")];
    let models = http(&server.operator, "GET", "/v1/models", &header, b"").json();
    assert_eq!(
        models["models"].as_array().map(Vec::len),
        Some(MODELS.len())
    );
    assert_eq!(models["models"][3]["batching"]["joined"], true, "{models}");
    let config = http(&server.operator, "GET", "/v1/config", &header, b"").json();
    assert_eq!(config["limits"]["connections_max"], 10_000);
    for path in ["/livez", "/readyz"] {
        assert_eq!(http(&server.ops, "GET", path, &[], b"").status, 200);
    }
}
