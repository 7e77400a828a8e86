//! Faulty models and clients: a row that fails, a run that does not end, an answer that
//! is never read. Other requests are unharmed.

use crate::support::optional::{or_not_run, python, run};
use crate::support::{Directory, Server, eventually};
use ortus::proto::inference as oip;
use ortus::testing::graphs;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};
use tonic::{Code, Status};

pub(crate) fn whole_numbers(model: &str, values: &[i64]) -> oip::ModelInferRequest {
    oip::ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![oip::model_infer_request::InferInputTensor {
            name: "x".to_owned(),
            datatype: "INT64".to_owned(),
            shape: vec![values.len() as i64],
            ..Default::default()
        }],
        raw_input_contents: vec![
            values
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>()
                .into(),
        ],
        ..Default::default()
    }
}

pub(crate) async fn ask(
    server: &Server,
    request: oip::ModelInferRequest,
) -> Result<Vec<u8>, Status> {
    let answer = server.grpc().await.model_infer(request).await?.into_inner();
    Ok(answer.raw_output_contents[0].to_vec())
}

#[tokio::test]
async fn requests_batched_with_a_row_that_fails_get_the_answers_they_get_alone() {
    let directory = Directory::empty();
    directory.put("lookup", 1, &graphs::lookup());
    // The batch delay brings the requests into one batch.
    let server = Server::start_with(
        directory.path(),
        &["--set", "model.lookup.batch_delay=300ms"],
    );
    let mut alone = Vec::new();
    for index in 0..7 {
        alone.push(
            ask(&server, whole_numbers("lookup", &[index, 9 - index]))
                .await
                .expect("served"),
        );
    }
    let rows_before = (sum(&server), runs(&server));
    let together = (0..8).map(|i| {
        let values = if i == 3 {
            [1, 10]
        } else {
            [i - i64::from(i > 3), 9 - (i - i64::from(i > 3))]
        };
        ask(&server, whole_numbers("lookup", &values))
    });
    let answers = join_all(together).await;
    for (i, answer) in answers.into_iter().enumerate() {
        match answer {
            Err(status) => {
                assert_eq!((i, status.code()), (3, Code::InvalidArgument), "{status:?}");
                assert!(
                    status.message().contains("refused these inputs"),
                    "{status:?}"
                );
            }
            Ok(bytes) => assert_eq!(bytes, alone[if i > 3 { i - 1 } else { i }], "request {i}"),
        }
    }
    let (rows, batches) = (sum(&server) - rows_before.0, runs(&server) - rows_before.1);
    assert_eq!(rows, 14.0);
    assert!(
        batches < 7.0,
        "{batches} batches for 7 requests: they were not together"
    );
}

fn sum(server: &Server) -> f64 {
    server.metric("ortus_batch_rows_sum").expect("a metric")
}

fn runs(server: &Server) -> f64 {
    server.metric("ortus_batch_rows_count").expect("a metric")
}

async fn join_all<T>(all: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = all.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in &mut waiting {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if waiting.iter().all(|(_, done)| done.is_some()) {
            ().into()
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

fn canary(server: &Server) {
    let body = br#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[2]}]}"#;
    let answer = server.post("/v2/models/lookup/infer", body);
    assert_eq!(
        (answer.status, &answer.json()["outputs"][0]["data"][0]),
        (200, &0.25.into()),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_run_beyond_its_deadline_is_answered_on_time_and_holds_up_neither_a_swap_nor_others() {
    let directory = Directory::empty();
    directory.put("demanding", 1, &graphs::demanding(1.0));
    directory.put("lookup", 1, &graphs::lookup());
    let server = Server::start_with(directory.path(), &["--set", "model.demanding.lanes=1"]);
    let ended = || server.metric("ortus_batch_rows_count{model=\"demanding\",version=\"1\"}");
    let ended_before = ended();

    // Seconds of work on any core.
    let long = with_timeout_us(whole_numbers("demanding", &[7000]), 200_000);
    let start = Instant::now();
    let status = ask(&server, long).await.expect_err("far too long");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    // This is about time: a deadline must not pass early.
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(200),
        "answered after {took:?}"
    );
    assert_eq!(ended(), ended_before, "answered only after the run");

    // The run goes on in its lane until its node ends.
    canary(&server);
    directory.put("demanding", 2, &graphs::demanding(2.0));
    eventually("the second version serves", || {
        server.metric("ortus_model_ready{model=\"demanding\",version=\"2\"}") == Some(1.0)
    });
    let answer = ask(&server, whole_numbers("demanding", &[3]))
        .await
        .expect("served by the second version");
    assert_eq!(answer, 2.0_f32.to_le_bytes());
    canary(&server);
}

pub(crate) fn with_timeout_us(
    mut request: oip::ModelInferRequest,
    us: i64,
) -> oip::ModelInferRequest {
    let parameter = oip::InferParameter {
        parameter_choice: Some(oip::infer_parameter::ParameterChoice::Int64Param(us)),
    };
    request.parameters.insert("timeout".to_owned(), parameter);
    request
}

#[tokio::test]
async fn a_run_that_loops_on_is_terminated_after_its_deadline_and_its_lane_serves_again() {
    let directory = Directory::empty();
    directory.put("counting", 1, &graphs::counting());
    let server = Server::start_with(directory.path(), &["--set", "model.counting.lanes=1"]);
    // Counting so far takes years.
    let endless = with_timeout_us(whole_numbers("counting", &[1 << 50]), 100_000);
    let status = ask(&server, endless).await.expect_err("far too long");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");

    // The only lane serves this one when the run before has ended.
    let next = with_timeout_us(whole_numbers("counting", &[3]), 20_000_000);
    let answer = ask(&server, next).await.expect("served");
    assert_eq!(answer, 3.0_f32.to_le_bytes());
    assert_eq!(
        server.metric("ortus_runs_terminated_total{model=\"counting\",version=\"1\"}"),
        Some(1.0)
    );
    assert_eq!(
        server.metric("ortus_lanes_hung{model=\"counting\",version=\"1\"}"),
        Some(0.0)
    );
}

/// A matrix product of this width takes one core about ten seconds.
const SLOW_WIDTH: i64 = 8192;

/// A server, and the request in it that hangs an I/O thread.
fn hung_in_place(arguments: &[&str]) -> (Server, TcpStream, Directory) {
    let directory = Directory::empty();
    directory.put("rare", 1, &graphs::rarely_slow(SLOW_WIDTH));
    let server = Server::start_with(directory.path(), arguments);
    let rows = vec!["1000"; SLOW_WIDTH as usize].join(",");
    let body = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{SLOW_WIDTH}],"data":[{rows}]}}]}}"#
    );
    let head = format!(
        "POST /v2/models/rare/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(&server.http).expect("the server accepts");
    stream
        .write_all((head + &body).as_bytes())
        .expect("written");
    eventually("the request in flight", || {
        server.metric("ortus_requests_in_flight{model=\"rare\",version=\"1\"}") == Some(1.0)
    });
    (server, stream, directory)
}

#[test]
fn a_run_that_hangs_an_io_thread_does_not_hold_up_the_end_of_the_server() {
    let arguments = [
        "--set",
        "server.drain=100ms",
        "--set",
        "server.drain_delay=0s",
    ];
    let (mut server, stream, _directory) = hung_in_place(&arguments);
    server.terminate();

    assert_eq!(server.wait(), Some(1));
    // The server ended without waiting for the run.
    let mut answer = Vec::new();
    let _ = (&stream).read_to_end(&mut answer);
    assert_eq!(String::from_utf8_lossy(&answer), "");
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("runs did not finish before the server stopped"));
    let line = line.unwrap_or_else(|| panic!("no line names what hangs: {log}"));
    assert!(line.contains("io ") && line.contains("rare:1"), "{line}");
}

#[test]
fn a_lane_that_hangs_is_replaced_although_the_model_directory_was_emptied() {
    // On a busy machine the run takes longer than the default.
    let arguments = ["--set", "models.empty_delay=1h"];
    let (server, _stream, directory) = hung_in_place(&arguments);
    fs::remove_dir_all(directory.path().join("rare")).expect("removed");
    let hung = || server.metric("ortus_lanes_hung{model=\"rare\",version=\"1\"}");
    eventually("the hung lane", || hung() == Some(1.0));
    eventually("the end of its run", || hung() == Some(0.0));

    assert_eq!(server.get("/v2/models/rare/ready").status, 200);
    let log = server.log();
    assert!(log.contains("a new lane replaces it"), "{log}");
    assert!(
        !log.contains("the session of a new lane cannot be opened"),
        "{log}"
    );
}

#[tokio::test]
async fn an_intermediate_tensor_beyond_memory_is_refused_and_the_server_goes_on() {
    let directory = Directory::empty();
    directory.put("demanding", 1, &graphs::demanding(1.0));
    directory.put("lookup", 1, &graphs::lookup());
    let server = Server::start(directory.path());
    for (size, code) in [
        (1 << 40, Code::InvalidArgument),
        (1 << 21, Code::ResourceExhausted),
    ] {
        let status = ask(&server, whole_numbers("demanding", &[size]))
            .await
            .expect_err("no such memory");
        assert!(
            [code, Code::InvalidArgument].contains(&status.code()),
            "{size}: {status:?}"
        );
        canary(&server);
    }
}

#[test]
fn a_model_that_wants_all_memory_at_its_first_run_is_refused_and_the_old_one_serves() {
    let directory = Directory::empty();
    directory.put("m", 1, &graphs::demanding(1.0));
    let server = Server::start(directory.path());
    let serves = || {
        let body = br#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[1]}]}"#;
        let answer = server.post("/v2/models/m/infer", body);
        (
            answer.status,
            answer.headers.get("ortus-model-version").cloned(),
        )
    };

    directory.put("m", 2, &graphs::hungry(1 << 20));
    eventually("the refusal", || {
        server.metric("ortus_model_load_failures_total{model=\"m\"}") == Some(1.0)
    });
    assert_eq!(serves(), (200, Some("1".to_owned())));
    let log = server.log();
    assert!(log.contains("ran out of memory"), "{log}");
    directory.put("m", 3, &graphs::demanding(3.0));
    eventually("a good one", || serves() == (200, Some("3".to_owned())));
}

#[test]
fn a_crash_at_the_first_run_ends_only_the_sandbox() {
    let directory = Directory::empty();
    directory.put("m", 1, &graphs::demanding(1.0));
    let server = Server::start(directory.path());
    let serves = || {
        let body = br#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[1]}]}"#;
        let answer = server.post("/v2/models/m/infer", body);
        (
            answer.status,
            answer.headers.get("ortus-model-version").cloned(),
        )
    };

    // The first run takes seconds. A Rust program survives the first SIGSEGV that another
    // process sends: its handler only restores the default action.
    directory.put("m", 2, &graphs::hungry(9_000));
    eventually("the refusal", || {
        for pid in server.children().into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::SEGV);
        }
        server.log().contains("crashed with signal 11")
    });
    assert_eq!(
        server.metric("ortus_model_load_failures_total{model=\"m\"}"),
        Some(1.0)
    );
    assert_eq!(serves(), (200, Some("1".to_owned())));
    directory.put("m", 3, &graphs::demanding(3.0));
    eventually("a good one", || serves() == (200, Some("3".to_owned())));
}

const INFER: &str = "POST /v2/models/lookup/infer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";

#[test]
fn a_body_in_chunks_of_one_byte_is_read_whole() {
    let directory = Directory::empty();
    directory.put("lookup", 1, &graphs::lookup());
    let server = Server::start(directory.path());
    let body = r#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[2]}]}"#;
    // White space may follow JSON. The deadline includes the time of the upload, and a
    // debug build on a busy machine takes long to read this many chunks.
    let padded = body.bytes().chain(std::iter::repeat_n(b' ', 1_000_000));
    let chunks: Vec<u8> = padded
        .flat_map(|byte| [b'1', b'\r', b'\n', byte, b'\r', b'\n'])
        .collect();
    let head = format!("{INFER}ortus-timeout-ms: 600000\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answer = crate::support::raw(
        &server.http,
        &[head.as_bytes(), &chunks, b"0\r\n\r\n"].concat(),
    );
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    canary(&server);
}

#[test]
fn a_connection_half_closed_within_a_request_is_ended_at_once() {
    let directory = Directory::empty();
    directory.put("lookup", 1, &graphs::lookup());
    let server = Server::start(directory.path());
    let mut stream = TcpStream::connect(&server.http).expect("the server accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("set");
    let head = format!("{INFER}Content-Length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).expect("written");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("half closed");

    // The rest of the body cannot come any more. The server ends the connection without
    // waiting for its idle time-out, which is longer than that of this read.
    let ended = stream.read_to_end(&mut Vec::new());
    let timed_out = ended.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!timed_out, "the connection stays open");
    eventually("nothing in flight", || {
        server.metric("ortus_bytes_in_flight") == Some(0.0)
    });
    canary(&server);
}

#[test]
fn a_client_that_never_reads_is_cut_and_holds_bounded_memory() {
    let directory = Directory::empty();
    directory.put("lookup", 1, &graphs::lookup());
    let arguments = ["--set", "limits.idle_timeout=1s"];
    let server = Server::start_with(directory.path(), &arguments);
    canary(&server);
    let before = server
        .metric("process_resident_memory_bytes")
        .expect("a metric");
    let mut stream = TcpStream::connect(&server.http).expect("the server accepts");
    stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .expect("set");
    // Requests for long answers, one after another, none of which is read.
    let ask = b"GET /v2/models/lookup/config HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let start = Instant::now();
    let cut = loop {
        match stream.write(&ask) {
            Err(e)
                if !matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                break true;
            }
            _ if start.elapsed() > Duration::from_secs(60) => break false,
            _ => {}
        }
    };
    assert!(
        cut,
        "a client that never reads keeps its connection for ever"
    );
    let after = server
        .metric("process_resident_memory_bytes")
        .expect("a metric");
    assert!(
        after - before < f64::from(16 << 20),
        "{before} grew to {after}"
    );
    canary(&server);
}

/// Writes a model that turns texts to upper case by the rules of a locale.
const UPPER: &str = r#"
import sys
from onnx import TensorProto, helper, save
text = lambda name: helper.make_tensor_value_info(name, TensorProto.STRING, ["N"])
node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="UPPER", locale=sys.argv[2])
graph = helper.make_graph([node], "g", [text("x")], [text("y")])
save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), sys.argv[1])
"#;

#[test]
fn a_text_model_finds_its_locale_where_locpath_says_also_in_the_sandbox() {
    let locales = tempfile::tempdir().expect("a temporary folder");
    // No system has a locale of this name.
    let name = "ortus_TEST.UTF-8";
    let copied = run(Command::new("cp")
        .args(["-r", "/usr/lib/locale/C.utf8"])
        .arg(locales.path().join(name)));
    let made = copied.and_then(|_| python("test-monitor", "monitor/requirements.txt"));
    let Some(python) = or_not_run("a locale and ONNX in Python", made) else {
        return;
    };

    let directory = Directory::empty();
    let folder = directory.path().join("m/1");
    fs::create_dir_all(&folder).expect("made");
    let mut write = Command::new(python);
    write.args(["-c", UPPER]).arg(folder.join("model.onnx"));
    run(write.arg(name)).expect("written");

    let refusing = Server::start(directory.path());
    assert!(
        refusing.log().contains("construct locale"),
        "{}",
        refusing.log()
    );
    let server = Server::start_with_env(&[("LOCPATH", locales.path())], directory.path(), &[]);
    let body = br#"{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"data":["word"]}]}"#;
    let answer = server.post("/v2/models/m/infer", body);
    assert_eq!(
        answer.json()["outputs"][0]["data"][0],
        "WORD",
        "{}",
        answer.text()
    );
}
