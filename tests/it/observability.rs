//! Metrics and alerting rules, checked by Prometheus's own tool; spans, received by a
//! collector; slow predictions in the log.

use crate::support::optional::or_not_run;
use crate::support::{Directory, Server, eventually, http, ortus, with_input};
use ortus::proto::opentelemetry as p;
use ortus::proto::opentelemetry::trace_service_server::{TraceService, TraceServiceServer};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Prometheus's tool, of Debian's package `prometheus`.
fn promtool() -> Result<(), String> {
    let ran = Command::new("promtool").arg("--version").output();
    ran.map(drop).map_err(|e| format!("promtool: {e}"))
}

fn run(command: &mut Command, input: &[u8]) -> (bool, String) {
    let output = with_input(command, input);
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn predict(server: &Server, headers: &[(&str, &str)]) -> crate::support::Answer {
    let sample =
        std::fs::read(crate::support::models_folder().join("wine/sample.json")).expect("a sample");
    http(
        &server.http,
        "POST",
        "/v2/models/wine/infer",
        headers,
        &sample,
    )
}

#[test]
fn prometheus_accepts_the_rules_and_the_metrics() {
    if or_not_run("promtool", promtool()).is_none() {
        return;
    }
    let rules = crate::support::root().join("deploy/prometheus/ortus.rules.yml");
    let (sound, said) = run(
        Command::new("promtool")
            .args(["check", "rules"])
            .arg(&rules),
        b"",
    );
    assert!(sound && said.contains("14 rules found"), "{said}");
    let (sound, said) = run(
        Command::new("promtool").args(["check", "rules", "/dev/stdin"]),
        b"groups: [{name: a, rules: [{alert: b, expr: 'sum('}]}]",
    );
    assert!(!sound, "a broken rule must be told: {said}");
    let directory = Directory::with(&["wine"]);
    aliases_can_be_read(&directory);
    let server = Server::start(directory.path());
    let id = predict(&server, &[])
        .header("ortus-prediction-id")
        .expect("an id")
        .to_owned();
    let labels = format!("{{\"labels\":[{{\"prediction_id\":\"{id}\",\"label\":1}}]}}");
    assert_eq!(server.post("/v1/feedback", labels.as_bytes()).status, 200);
    eventually("a measure", || {
        server.metric("ortus_performance_rows").is_some()
    });
    let metrics = http(&server.ops, "GET", "/metrics", &[], b"").body;
    let (sound, said) = run(
        Command::new("promtool").args(["check", "metrics"]),
        &metrics,
    );
    assert!(sound, "{said}");
}

/// Other servers' names break rules of style, which `promtool` lists; what cannot be read is another error.
fn aliases_can_be_read(directory: &Directory) {
    const UNREADABLE: &str = "error while linting";
    let check = |text: &[u8]| run(Command::new("promtool").args(["check", "metrics"]), text).1;
    let aliases = ["--set", "server.metric_aliases=all"];
    let server = Server::start_with(directory.path(), &aliases);
    assert_eq!(predict(&server, &[]).status, 200);
    let metrics = http(&server.ops, "GET", "/metrics", &[], b"").body;
    let said = check(&metrics);
    assert!(!said.contains(UNREADABLE), "{said}");
    assert!(said.contains("nv_inference_count"), "{said}");
    assert!(
        said.contains(":tensorflow:serving:request_latency"),
        "{said}"
    );

    let broken = [&metrics[..], b"nv_inference_count{model} 1\n"].concat();
    assert!(check(&broken).contains(UNREADABLE), "{}", check(&broken));
}

#[test]
fn the_catalogue_of_metrics_is_printed() {
    let output = ortus()
        .args(["metrics", "list", "--json"])
        .output()
        .expect("runs");
    let families: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let names: Vec<&str> = families["families"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|f| f["name"].as_str())
        .collect();
    assert!(
        names.len() > 40 && names.contains(&"ortus_drift") && names.is_sorted(),
        "{names:?}"
    );
    let refused = ortus()
        .args(["metrics", "dashboard", "nothing"])
        .output()
        .expect("runs");
    assert!(
        !refused.status.success()
            && String::from_utf8_lossy(&refused.stderr).contains("effectiveness")
    );
}

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<p::Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<p::ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<p::ExportTraceServiceResponse>, tonic::Status> {
        let spans = request
            .into_inner()
            .resource_spans
            .into_iter()
            .flat_map(|r| r.scope_spans)
            .flat_map(|s| s.spans);
        self.0.lock().expect("no panic").extend(spans);
        Ok(tonic::Response::new(p::ExportTraceServiceResponse {}))
    }
}

/// Starts a collector; its runtime serves it until it is dropped.
fn start_collector() -> (Collector, std::net::SocketAddr, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");

    let collector = Collector::default();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let service = TraceServiceServer::new(collector.clone());
    runtime.spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let service = hyper_util::service::TowerToHyperService::new(service.clone());
            let http =
                hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            tokio::spawn(async move {
                let _ = http
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                    .await;
            });
        }
    });

    (collector, address, runtime)
}

/// The context of the caller's span.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_collector_receives_the_spans_of_a_callers_trace() {
    let (collector, address, _runtime) = start_collector();
    let endpoint = format!("traces.endpoint=\"http://{address}\"");
    let directory = Directory::with(&["wine"]);
    let server = Server::start_with(
        directory.path(),
        &["--set", &endpoint, "--set", "traces.share=0.0"],
    );
    assert_eq!(
        predict(&server, &[]).header("traceresponse"),
        None,
        "no trace of a caller"
    );

    let answer = predict(&server, &[("traceparent", PARENT)]);
    let traced = answer.header("traceresponse").expect("followed").to_owned();
    assert!(
        traced.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
            && !traced.contains("00f067aa0ba902b7")
    );

    let spans = || collector.0.lock().expect("no panic").clone();
    eventually("the spans", || spans().len() == 4);
    let spans = spans();
    check_tree(&spans, &traced);
    let id = answer.header("ortus-prediction-id").expect("an id");
    check_attributes(&spans[0], id);
    check_times(&spans);
    check_refused_endpoint(&directory);
}

fn check_tree(spans: &[p::Span], traced: &str) {
    let names: Vec<&str> = spans.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["predict", "queue", "batch", "run"]);
    assert_eq!(
        spans[0].parent_span_id.as_ref(),
        0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()
    );
    assert!(
        traced.contains(
            &spans[0]
                .span_id
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
        )
    );
}

fn check_attributes(span: &p::Span, id: &str) {
    let has = |key: &str, text: &str| {
        span.attributes.iter().any(|a| {
            let value = a.value.as_ref().and_then(|v| v.value.as_ref());
            a.key == key && matches!(value, Some(p::any_value::Value::StringValue(v)) if v == text)
        })
    };
    assert!(has("ortus.prediction_id", id) && has("ortus.model", "wine"));
}

fn check_times(spans: &[p::Span]) {
    assert!(
        spans
            .iter()
            .all(|s| s.start_time_unix_nano <= s.end_time_unix_nano)
    );
    assert!(spans[3].end_time_unix_nano <= spans[0].end_time_unix_nano + 1_000_000);
}

fn check_refused_endpoint(directory: &Directory) {
    let refused = ortus()
        .args(["serve", "--models"])
        .arg(directory.path())
        .args(["--set", "traces.endpoint=\"x\""])
        .output();
    let refused = refused.expect("runs");

    assert!(
        !refused.status.success()
            && String::from_utf8_lossy(&refused.stderr).contains("traces.endpoint")
    );
}

#[test]
fn slow_predictions_are_logged_with_their_ids_at_a_limited_rate() {
    let directory = Directory::with(&["wine"]);
    let server = Server::start_with(
        directory.path(),
        &["--set", "log.slow=\"1us\"", "--set", "log.format=\"json\""],
    );
    let ids: Vec<String> = (0..40)
        .filter_map(|_| {
            predict(&server, &[])
                .header("ortus-prediction-id")
                .map(str::to_owned)
        })
        .collect();
    eventually("it is told", || server.log().contains("slow prediction"));
    let log = server.log();
    let told: Vec<&str> = log
        .lines()
        .filter(|l| l.contains("slow prediction"))
        .collect();
    assert!(ids.len() == 40 && told[0].contains(&ids[0]), "{log}");
    assert!(
        ["queue_us", "run_us", "batch_rows", "\"model\":\"wine\""]
            .iter()
            .all(|key| told[0].contains(key)),
        "{log}"
    );
    assert!(told.len() <= 30, "ten a second: {}", told.len());
}
