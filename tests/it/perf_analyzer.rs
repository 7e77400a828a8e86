//! Triton's own load generator, unmodified: it holds the answers, the shared memory and the statistics of the server
//! against what it expects of Triton's, and ends with an error where they differ.

use crate::support::optional::{or_not_run, perf_analyzer};
use crate::support::{Directory, Server, settings};
use ortus::proto::onnx::GraphProto;
use ortus::testing::graphs;
use std::process::Command;

#[test]
fn perf_analyzer_ends_well_over_every_way() {
    let Some(tool) = or_not_run("perf_analyzer", perf_analyzer()) else {
        return;
    };
    let directory = Directory::empty();
    let graph = GraphProto {
        input: vec![graphs::declare("x", graphs::FLOAT, &[-1, 16])],
        output: vec![graphs::declare("y", graphs::FLOAT, &[-1, 16])],
        node: vec![graphs::node("Neg", &["x"], "y")],
        ..GraphProto::default()
    };
    directory.put("neg", 1, &graphs::model(graph));
    let settings = settings(&["server.shared_memory=true"]);
    let server = Server::start_with(directory.path(), &settings);
    let (http, grpc) = (server.http.as_str(), server.grpc.as_str());
    let streaming = ["-i", "grpc", "-u", grpc, "--streaming", "--async"];
    let shared = ["--shared-memory", "system"];
    let ways: [Vec<&str>; 7] = [
        vec!["-u", http],
        vec!["-i", "grpc", "-u", grpc],
        streaming.to_vec(),
        [&["-u", http], &shared[..]].concat(),
        [&["-i", "grpc", "-u", grpc], &shared[..]].concat(),
        [&streaming[..], &shared[..]].concat(),
        vec![
            "-i",
            "grpc",
            "-u",
            grpc,
            "-b",
            "4",
            "--concurrency-range",
            "4",
        ],
    ];
    for way in ways {
        // Three windows of half a second, stable or not.
        let brief = ["-p", "500", "-r", "3", "--stability-percentage", "999"];
        let output = Command::new(&tool.program)
            .env("LD_LIBRARY_PATH", &tool.libraries)
            .args(["-m", "neg"])
            .args(brief)
            .args(&way)
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{way:?}: {}\n{said}\n{error}",
            output.status
        );
        let rate = said.lines().find_map(|line| {
            let rate = line.trim().strip_prefix("Throughput: ")?;
            rate.strip_suffix(" infer/sec")?.parse::<f64>().ok()
        });
        assert!(rate.is_some_and(|rate| rate > 0.0), "{way:?}: {said}");
    }
}
