//! The series of two versions of a model, under the names of other servers.

use super::*;
use crate::core::model::Version;
use crate::core::request::Timing;
use crate::observe::metrics::Metrics;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Two versions of model `m`: the first answers two predictions over gRPC in one batch and refuses two, the
/// second answers one over REST.
fn text(names: MetricAliases) -> String {
    let metrics = Metrics::new().expect("registered");
    let model = ModelName::parse("m").expect("legal");
    let one = metrics.servable(&model, Version::ONE);
    let two = metrics.servable(&model, Version::new(2).expect("legal"));
    let timing = Timing {
        queue: MS,
        gather: 2 * MS,
        run: 3 * MS,
        scatter: 4 * MS,
        ..Timing::default()
    };
    for _ in 0..2 {
        one.answered(&timing);
        one.finished(Protocol::OipGrpc, Ok(()), 10 * MS);
    }
    one.ran(5, [2 * MS, 3 * MS, 4 * MS]);
    one.finished(Protocol::TfsRest, Err(Kind::ResourceExhausted), MS);
    one.finished(Protocol::OipGrpc, Err(Kind::InvalidArgument), MS);
    two.answered(&timing);
    two.ran(1, [MS, MS, MS]);
    two.finished(Protocol::OipRest, Ok(()), 7 * MS);

    let versions = [(1, &one), (2, &two)].map(|(version, metrics)| AliasedVersion {
        model: &model,
        version,
        metrics,
    });
    write(names, &versions)
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
}

#[test]
fn triton_has_counters_of_each_version() {
    let text = text(MetricAliases::Triton);
    let first = r#"{model="m",version="1"}"#;
    has(&text, "# TYPE nv_inference_request_success counter");
    has(&text, &format!("nv_inference_request_success{first} 2"));
    has(&text, &format!("nv_inference_count{first} 5"));
    has(&text, &format!("nv_inference_exec_count{first} 1"));
    has(
        &text,
        &format!("nv_inference_request_duration_us{first} 20000"),
    );
    has(
        &text,
        &format!("nv_inference_queue_duration_us{first} 2000"),
    );
    has(
        &text,
        &format!("nv_inference_compute_input_duration_us{first} 4000"),
    );
    has(
        &text,
        &format!("nv_inference_compute_infer_duration_us{first} 6000"),
    );
    has(
        &text,
        &format!("nv_inference_compute_output_duration_us{first} 8000"),
    );
    let failed = |reason: &str| {
        format!(r#"nv_inference_request_failure{{model="m",version="1",reason="{reason}"}}"#)
    };
    has(&text, &format!("{} 1", failed("REJECTED")));
    has(&text, &format!("{} 1", failed("OTHER")));
    has(&text, &format!("{} 0", failed("BACKEND")));
    has(
        &text,
        r#"nv_inference_request_success{model="m",version="2"} 1"#,
    );
    assert!(!text.contains("tensorflow"));
}

#[test]
fn tensorflow_serving_has_the_sum_of_the_versions() {
    let text = text(MetricAliases::TensorFlow);
    let count = ":tensorflow:serving:request_count";
    has(
        &text,
        &format!(r#"{count}{{model_name="m",status="OK"}} 3"#),
    );
    has(
        &text,
        &format!(r#"{count}{{model_name="m",status="RESOURCE_EXHAUSTED"}} 1"#),
    );
    has(
        &text,
        &format!(r#"{count}{{model_name="m",status="INVALID_ARGUMENT"}} 1"#),
    );
    let latency = |suffix: &str, entrypoint: &str, more: &str| {
        format!(
            r#":tensorflow:serving:request_latency_{suffix}{{model_name="m",API="Predict",entrypoint="{entrypoint}"{more}}}"#
        )
    };
    has(&text, &format!("{} 3", latency("count", "GRPC", "")));
    has(&text, &format!("{} 2", latency("count", "REST", "")));
    has(
        &text,
        &format!("{} 3", latency("bucket", "GRPC", r#",le="+Inf""#)),
    );
    has(
        &text,
        &format!("{} 1", latency("bucket", "GRPC", r#",le="7500""#)),
    );
    has(
        &text,
        &format!("{} 3", latency("bucket", "GRPC", r#",le="10000""#)),
    );
    let runs = r#":tensorflow:serving:runtime_latency_count{model_name="m",API="Predict",runtime="ONNX"} 2"#;
    has(&text, runs);
    has(
        &text,
        r#":tensorflow:serving:batching_session:queuing_latency_count{model_name="m"} 3"#,
    );
    assert!(!text.contains("nv_"));
}

#[test]
fn both_or_none() {
    let both = text(MetricAliases::All);
    assert!(
        both.contains("nv_inference_count") && both.contains(":tensorflow:serving:request_count")
    );
    assert_eq!(text(MetricAliases::None), "");
}
