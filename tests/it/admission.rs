//! What is refused at arrival, and what a refusal says: full queues, deadlines that cannot be met,
//! priorities and timeouts out of range, and a server that stood still.

use crate::faults::{ask, whole_numbers, with_timeout_us};
use crate::support::optional::is_long;
use crate::support::{Directory, Server, eventually, http, models_folder, ortus, settings};
use futures_util::{StreamExt as _, stream};
use ortus::proto::inference as oip;
use ortus::proto::onnx::GraphProto;
use ortus::testing::{block_on, graphs};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::{Code, Status};

const INFER: &str = "/v2/models/counting/infer";

/// A server whose one lane counts without end while a queue of two is full, until the tasks are dropped.
async fn full() -> (Directory, Server, JoinSet<()>) {
    let directory = Directory::empty();
    directory.put("counting", 1, &graphs::counting());
    let limits = [
        "model.counting.lanes=1",
        "model.counting.batch_rows_max=2",
        "model.counting.queue_rows_max=2",
    ];
    let server = Server::start_with(directory.path(), &settings(&limits));
    let mut endless = JoinSet::new();
    for waiting in [None, Some(1.0), Some(2.0)] {
        let mut client = server.grpc().await;
        endless.spawn(async move {
            let _ = client
                .model_infer(whole_numbers("counting", &[1 << 50]))
                .await;
        });
        let queued = || server.metric("ortus_queue_rows{model=\"counting\",version=\"1\"}");
        let in_flight =
            || server.metric("ortus_requests_in_flight{model=\"counting\",version=\"1\"}");
        let reached = || match waiting {
            None => in_flight() == Some(1.0) && queued() == Some(0.0),
            Some(_) => queued() == waiting,
        };
        eventually("the next request in its place", reached);
    }
    (directory, server, endless)
}

fn header(status: &Status, name: &str) -> Option<String> {
    let value = status.metadata().get(name)?;
    Some(value.to_str().expect("text").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_before_tensors_are_decoded_and_says_that_nothing_ran() {
    let (_directory, server, endless) = full().await;
    // Tensors that no model accepts.
    let mut broken = whole_numbers("counting", &[1, 2, 3]);
    broken.inputs[0].datatype = "FP33".to_owned();
    let mut typed = broken.clone();
    typed.raw_input_contents.clear();
    for request in [whole_numbers("counting", &[1]), broken, typed] {
        let status = ask(&server, request).await.expect_err("refused");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.message().contains("the queue is full at 2 rows"));
        assert_eq!(header(&status, "ortus-executed").as_deref(), Some("false"));
        let pushback = header(&status, "grpc-retry-pushback-ms");
        assert!(pushback.is_none_or(|ms| ms.parse::<u32>().is_ok_and(|ms| ms > 0)));
    }

    let answer = server.post(INFER, b"{\"inputs\":[{]}");
    assert_eq!(answer.status, 429, "{}", answer.text());
    let header = |name: &str| answer.headers.get(name).map(String::as_str);
    assert_eq!(header("ortus-executed"), Some("false"));
    let seconds: Option<u32> = header("retry-after").and_then(|s| s.parse().ok());
    assert!(
        seconds.is_some_and(|s| s > 0),
        "{:?}",
        header("retry-after")
    );
    // Clients of TensorFlow Serving retry what is unavailable.
    let answer = server.post("/v1/models/counting:predict", b"{\"instances\":[1]}");
    assert_eq!(answer.status, 503, "{}", answer.text());
    // Counted for the model.
    let refused = "ortus_requests_total{model=\"counting\",outcome=\"resource_exhausted\",\
                   protocol=\"oip_grpc\",version=\"1\"}";
    assert_eq!(server.metric(refused), Some(3.0));

    // When the clients leave, the lane is free again.
    drop(endless);
    let answer = ask(&server, whole_numbers("counting", &[3])).await;
    eventually("room again", || {
        server.metric("ortus_queue_rows{model=\"counting\",version=\"1\"}") == Some(0.0)
    });
    if let Err(status) = answer {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        let again = ask(&server, whole_numbers("counting", &[3])).await;
        assert_eq!(again.expect("served"), 3.0_f32.to_le_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passed_is_refused_and_says_that_nothing_ran() {
    let (_directory, server, _endless) = full().await;
    let directory = Directory::empty();
    directory.put("counting", 1, &graphs::counting());
    let busy = Server::start_with(directory.path(), &settings(&["model.counting.lanes=1"]));
    let mut client = busy.grpc().await;
    let mut endless = JoinSet::new();
    endless.spawn(async move {
        let _ = client
            .model_infer(whole_numbers("counting", &[1 << 50]))
            .await;
    });
    eventually("the run", || {
        busy.metric("ortus_requests_in_flight{model=\"counting\",version=\"1\"}") == Some(1.0)
    });

    let late = with_timeout_us(whole_numbers("counting", &[3]), 20_000);
    let status = ask(&busy, late).await.expect_err("no lane is free");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(header(&status, "ortus-executed").as_deref(), Some("false"));
    // A full queue is the reason that comes first.
    let late = with_timeout_us(whole_numbers("counting", &[3]), 20_000);
    let status = ask(&server, late).await.expect_err("no room");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

#[test]
fn timeouts_and_priorities_at_and_beyond_their_limits() {
    let directory = Directory::empty();
    directory.put("counting", 1, &graphs::counting());
    let server = Server::start(directory.path());
    let body = |parameters: serde_json::Value| {
        json!({
            "parameters": parameters,
            "inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [3]}],
        })
        .to_string()
    };
    let plain = body(json!({}));
    for (name, value, status) in [
        ("grpc-timeout", "0S", 504),
        ("grpc-timeout", "1n", 504),
        ("grpc-timeout", "-1S", 400),
        ("grpc-timeout", "8760H", 200),
        ("grpc-timeout", "99999999H", 200),
        ("grpc-timeout", "999999999H", 400),
        ("ortus-timeout-ms", "0", 400),
        ("ortus-timeout-ms", "-5", 400),
        ("ortus-timeout-ms", "999999999999", 200),
        ("ortus-timeout-ms", "9999999999999", 400),
    ] {
        let headers = [(name, value)];
        let answer = http(&server.http, "POST", INFER, &headers, plain.as_bytes());
        assert_eq!(answer.status, status, "{name} {value}: {}", answer.text());
    }
    for (parameters, status) in [
        (json!({"priority": 0}), 200),
        (json!({"priority": 255}), 200),
        (json!({"priority": 256}), 400),
        (json!({"priority": -1}), 400),
        (json!({"priority": 1.5}), 400),
        (json!({"priority": "high"}), 400),
        (json!({"timeout": 0}), 200),
        (json!({"timeout": -1}), 400),
        (json!({"timeout": 1e300}), 400),
        (json!({"timeout": u64::MAX}), 200),
    ] {
        let answer = server.post(INFER, body(parameters.clone()).as_bytes());
        assert_eq!(answer.status, status, "{parameters}: {}", answer.text());
    }
}

#[test]
fn a_million_rows_without_a_column_are_refused_by_their_number() {
    let directory = Directory::empty();
    let whole = |name| graphs::declare(name, 1, &[-1, -1]);
    directory.put(
        "same",
        1,
        &graphs::model(GraphProto {
            node: vec![graphs::node("Identity", &["x"], "y")],
            input: vec![whole("x")],
            output: vec![whole("y")],
            ..GraphProto::default()
        }),
    );
    let server = Server::start(directory.path());
    let text = |rows: usize| {
        json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [rows, 0], "data": []}]})
            .to_string()
    };
    let few = server.post("/v2/models/same/infer", text(3).as_bytes());
    assert_eq!(few.status, 200, "{}", few.text());
    let answer = server.post("/v2/models/same/infer", text(1_000_000).as_bytes());
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("1000000 rows"), "{}", answer.text());

    // A request without rows is answered, and is no row of what is learned.
    let explained = || {
        let shown = ortus()
            .args(["explain", "same", "--json", "--server", &server.operator])
            .output();
        let report = serde_json::from_slice::<Value>(&shown.expect("runs").stdout);
        report.expect("JSON")["versions"][0].clone()
    };
    let before = explained();
    let none = server.post("/v2/models/same/infer", text(0).as_bytes());
    assert_eq!(none.status, 200, "{}", none.text());
    let after = explained();
    assert_eq!(after["batches"][0]["rows"], 0, "{after}");
    assert_eq!(after["classes"], before["classes"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stood_still_under_load_answers_all_who_still_wait() {
    let directory = Directory::with(&["digits"]);
    directory.put("counting", 1, &graphs::counting());
    let server = Server::start(directory.path());
    let load = |server: &Server, timeout: Option<i64>| {
        let request = whole_numbers("counting", &[100]);
        let request = match timeout {
            Some(us) => with_timeout_us(request, us),
            None => request,
        };
        let address = server.grpc.clone();
        async move {
            let channel = tonic::transport::Endpoint::new(format!("http://{address}"));
            let channel = channel
                .expect("an address")
                .connect()
                .await
                .expect("connected");
            let mut client =
                oip::grpc_inference_service_client::GrpcInferenceServiceClient::new(channel);
            client
                .model_infer(request)
                .await
                .map(|answer| answer.into_inner())
        }
    };
    // Connected first, so that the kernel holds the requests while the server stands still.
    load(&server, None).await.expect("served");

    server.send(Signal::STOP);
    let mut patient = JoinSet::new();
    let mut hurried = JoinSet::new();
    for _ in 0..40 {
        patient.spawn(load(&server, None));
        hurried.spawn(load(&server, Some(1_000)));
    }
    let stopped = Instant::now();
    while requests_in_kernel(&server) < 80 || stopped.elapsed() < stop_length() {
        tokio::task::yield_now().await;
    }
    server.send(Signal::CONT);

    while let Some(answer) = patient.join_next().await {
        let answer = answer.expect("no panic").expect("who waits is answered");
        assert_eq!(answer.raw_output_contents[0][..], 100.0_f32.to_le_bytes());
    }
    while let Some(answer) = hurried.join_next().await {
        // Its time begins when the server reads it.
        if let Err(status) = answer.expect("no panic") {
            assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        }
    }
    let none = Some(0.0);
    eventually("nothing in flight", || {
        server.metric("ortus_requests_in_flight{model=\"counting\",version=\"1\"}") == none
            && server.metric("ortus_queue_rows{model=\"counting\",version=\"1\"}") == none
    });
}

/// Connections to the server of which it has not read all bytes.
fn requests_in_kernel(server: &Server) -> usize {
    let port = server.grpc.rsplit(':').next().and_then(|p| p.parse().ok());
    let port: u16 = port.expect("a port");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
    let waits = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        let address = columns.next().unwrap_or_default();
        let unread = columns.nth(2).and_then(|queues| queues.split_once(':'));
        address.ends_with(&format!(":{port:04X}")) && unread.is_some_and(|(_, rx)| rx != "00000000")
    };
    // The line of the listener counts connections that it did not accept.
    table
        .lines()
        .filter(waits)
        .filter(|line| !line.contains(" 0A "))
        .count()
}

/// How long the server stands still at least.
fn stop_length() -> Duration {
    match is_long() {
        true => Duration::from_secs(10),
        false => Duration::ZERO,
    }
}

#[test]
fn explain_shows_what_was_learned_what_ran_and_what_was_not_served() {
    let directory = Directory::with(&["digits"]);
    let server = Server::start(directory.path());
    let explain = |arguments: &[&str]| {
        let asked = ortus()
            .args(["explain", "digits", "--server", &server.operator])
            .args(arguments)
            .output()
            .expect("it runs");
        assert!(asked.status.success(), "{asked:?}");
        String::from_utf8(asked.stdout).expect("text")
    };
    let body = std::fs::read(models_folder().join("digits/sample.json")).expect("a sample");
    let path = "/v2/models/digits/infer";
    assert_eq!(server.post(path, &body).status, 200);
    let late = http(&server.http, "POST", path, &[("grpc-timeout", "1n")], &body);
    assert_eq!(late.status, 504, "{}", late.text());

    let report: serde_json::Value = serde_json::from_str(&explain(&["--json"])).expect("JSON");
    let version = &report["versions"][0];
    assert_eq!(version["queue"]["rows"], 0);
    let sizes = version["classes"][0]["sizes"].as_array().expect("sizes");
    assert!(
        sizes
            .iter()
            .all(|size| size["mean_seconds"].as_f64() > Some(0.0)),
        "{version}"
    );
    let rows: u64 = serde_json::from_slice::<serde_json::Value>(&body).expect("JSON")["inputs"][0]
        ["shape"][0]
        .as_u64()
        .expect("rows");
    assert_eq!(version["batches"][0]["rows"], rows);
    assert_eq!(version["batches"][0]["why"], "no more waited");
    assert_eq!(version["refused"][0]["requests"], 1, "{version}");

    let text = explain(&[]);
    for part in [
        "digits:1  batches of up to",
        "rows wait",
        "last batches",
        "1 not served: deadline",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let unknown = ortus()
        .args(["explain", "none", "--server", &server.operator])
        .output()
        .expect("it runs");
    assert!(!unknown.status.success());
    let error = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(error.contains("is not served here"), "{error}");
}

#[test]
fn a_stream_whose_client_goes_ends_its_requests() {
    let directory = Directory::empty();
    directory.put("counting", 1, &graphs::counting());
    let server = Server::start_with(directory.path(), &settings(&["model.counting.lanes=1"]));
    // Two that never end by themselves, and no end of the requests.
    let requests = vec![whole_numbers("counting", &[1 << 50]); 2];
    let requests = stream::iter(requests).chain(stream::pending());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let answers = runtime.block_on(async {
        let mut client = server.grpc().await;
        client.model_stream_infer(requests).await.expect("begun")
    });
    let in_flight = || server.metric("ortus_requests_in_flight{model=\"counting\",version=\"1\"}");
    eventually("both requests", || in_flight() == Some(2.0));
    // With its connection.
    drop((answers, runtime));
    eventually("nothing runs for nobody", || in_flight() == Some(0.0));
    let answer = block_on(ask(&server, whole_numbers("counting", &[3])));
    assert_eq!(answer.expect("served"), 3.0_f32.to_le_bytes());
}
