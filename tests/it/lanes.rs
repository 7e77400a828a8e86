//! The memory of a version with several lanes.

use crate::support::{Directory, Server, http, settings};
use ortus::testing::graphs;

/// FP32 numbers in the weights of a model of 64 MiB.
const NUMBERS: usize = 16 << 20;

/// Resident memory of a server with so many lanes, in bytes.
fn resident(directory: &Directory, lanes: usize) -> f64 {
    let lanes = format!("models.defaults.lanes={lanes}");
    let server = Server::start_with(directory.path(), &settings(&[&lanes]));
    let body = br#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[0]}]}"#;
    let answer = server.post("/v2/models/large/infer", body);
    assert_eq!(answer.json()["outputs"][0]["data"][0], 7.0);
    // Whatever the number of lanes, the weights count once.
    let estimate = server.metric("ortus_model_memory_bytes{model=\"large\",version=\"1\"}");
    let estimate = estimate.expect("a metric");
    let weights = (NUMBERS * size_of::<f32>()) as f64;
    assert!(
        (weights..3.0 * weights).contains(&estimate),
        "{estimate} bytes"
    );
    let operator = [("ortus-operator", "1")];
    let listed = http(&server.operator, "GET", "/v1/models", &operator, b"").json();
    assert_eq!(listed["models"][0]["memory_bytes"], estimate);
    server
        .metric("process_resident_memory_bytes")
        .expect("a metric")
}

#[test]
fn further_lanes_of_a_large_model_need_no_copy_of_its_weights() {
    let directory = Directory::empty();
    directory.put("large", 1, &graphs::marked(7.0, NUMBERS));
    let weights = (NUMBERS * size_of::<f32>()) as f64;
    let (one, four) = (resident(&directory, 1), resident(&directory, 4));
    assert!(
        four < one + 0.5 * weights,
        "{one} bytes with one lane, {four} with four"
    );
    assert!(one < 2.5 * weights + 1e8, "{one} bytes with one lane");
}
