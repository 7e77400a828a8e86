//! Weighted traffic, sticky keys, and shadow copies.

use crate::support::registry::{Registry, ask, serves};
use crate::support::{Server, eventually, http};
use ortus::proto::inference;

#[test]
fn a_shadow_is_sent_copies_and_only_compared() {
    let registry = Registry::new();
    for mark in [1.0, 2.0, 1.000_01] {
        registry.push("m", mark);
    }
    registry.does(&["promote", "m", "1"]);
    registry.does(&["alias", "m", "shadow", "2"]);
    let server = registry.serve(&[]);
    let copies = |version: u32, outcome: &str| {
        let series = format!(
            "ortus_shadow_total{{model=\"m\",outcome=\"{outcome}\",version=\"{version}\"}}"
        );
        server.metric(&series).unwrap_or(0.0)
    };
    for _ in 0..20 {
        assert!(
            serves(&server, "1", 1.0),
            "the answer is the champion's alone"
        );
    }
    eventually("the copies", || {
        copies(2, "different") + copies(2, "dropped") == 20.0
    });
    assert!(copies(2, "different") > 0.0);
    registry.does(&["alias", "m", "shadow", "3"]);
    eventually("the other shadow", || {
        serves(&server, "1", 1.0) && copies(3, "same") > 0.0
    });
    registry.does(&["alias", "m", "shadow", "--remove"]);
    eventually("no shadow", || {
        server
            .metric("ortus_model_ready{model=\"m\",version=\"3\"}")
            .is_none()
    });
    assert!(serves(&server, "1", 1.0));
}

#[test]
fn traffic_is_split_by_weight_and_a_key_sticks() {
    let registry = Registry::new();
    for mark in [1.0, 2.0] {
        registry.push("m", mark);
    }
    registry.does(&["promote", "m", "1"]);
    registry.does(&["alias", "m", "challenger", "2"]);
    let server = registry.serve(&[]);
    registry.does(&["traffic", "m", "champion=50", "challenger=50"]);
    eventually("the split", || ask(&server, "m", &[]).1 == "2");
    let served = |key: &str| ask(&server, "m", &[("ortus-route-key", key)]).1;
    let keys: Vec<String> = (0..60).map(|i| format!("user {i}")).collect();
    let first: Vec<String> = keys.iter().map(|key| served(key)).collect();
    let share = first.iter().filter(|v| *v == "2").count();
    assert!(
        (15..45).contains(&share),
        "{share} of 60 keys went to the challenger"
    );
    assert_eq!(
        keys.iter().map(|key| served(key)).collect::<Vec<_>>(),
        first,
        "a key did not stick"
    );
    // The key has the same effect as a parameter, over both protocols; the header wins.
    let body = |key: &str| {
        format!(
            r#"{{"parameters":{{"route_key":"{key}"}},"inputs":[{{"name":"x","datatype":"INT64","shape":[1],"data":[1]}}]}}"#
        )
    };
    let infer = |headers: &[(&str, &str)], body: &str| {
        let answer = http(
            &server.http,
            "POST",
            "/v2/models/m/infer",
            headers,
            body.as_bytes(),
        );
        answer
            .headers
            .get("ortus-model-version")
            .cloned()
            .unwrap_or_else(|| answer.status.to_string())
    };
    assert_eq!(
        keys.iter()
            .map(|key| infer(&[], &body(key)))
            .collect::<Vec<_>>(),
        first
    );
    assert_eq!(
        keys.iter()
            .map(|key| infer(&[("ortus-route-key", key)], &body("x")))
            .collect::<Vec<_>>(),
        first
    );
    assert_eq!(infer(&[], &body("x").replace("\"x\"}", "7}")), "400");
    let by_grpc = grpc_versions(&server, &keys);
    assert_eq!(by_grpc, first);
    // An explicit version is never split.
    assert!((0..20).all(|_| ask(&server, "m/versions/1", &[]).1 == "1"));
    registry.does(&["promote", "m", "2"]);
    eventually("promotion ends the split", || {
        keys.iter().all(|key| served(key) == "2")
    });
}

/// The version that serves each key, sent as a parameter over gRPC.
fn grpc_versions(server: &Server, keys: &[String]) -> Vec<String> {
    use inference::infer_parameter::ParameterChoice;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut client = server.grpc().await;
        let mut versions = Vec::new();
        for key in keys {
            let mut request = mark_request();
            let choice = Some(ParameterChoice::StringParam(key.clone()));
            request.parameters.insert(
                "route_key".to_owned(),
                inference::InferParameter {
                    parameter_choice: choice,
                },
            );
            versions.push(
                client
                    .model_infer(request)
                    .await
                    .expect("answers")
                    .into_inner()
                    .model_version,
            );
        }
        versions
    })
}

/// Asks for the first number of the model's table.
pub(super) fn mark_request() -> inference::ModelInferRequest {
    inference::ModelInferRequest {
        model_name: "m".to_owned(),
        inputs: vec![inference::model_infer_request::InferInputTensor {
            name: "x".to_owned(),
            datatype: "INT64".to_owned(),
            shape: vec![1],
            ..Default::default()
        }],
        raw_input_contents: vec![0_i64.to_le_bytes().to_vec().into()],
        ..Default::default()
    }
}
