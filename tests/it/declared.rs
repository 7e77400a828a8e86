//! What a model's files declare against what its graph does: `config.pbtxt`, and the
//! warnings and refusals of ONNX Runtime.

use crate::support::{Directory, Server, eventually, settings};
use ortus::proto::onnx as o;
use ortus::testing::graphs::{self, FLOAT};
use std::fs;

/// Copies its input `x` of shape [-1]; declares its output with `dims`.
fn copies(op: &str, dims: &[i64]) -> Vec<u8> {
    graphs::model(o::GraphProto {
        node: vec![graphs::node(op, &["x"], "y")],
        input: vec![graphs::declare("x", FLOAT, &[-1])],
        output: vec![graphs::declare("y", FLOAT, dims)],
        ..o::GraphProto::default()
    })
}

/// State and reason of a model in the index.
fn index(server: &Server, model: &str) -> (String, String) {
    let index = server.post("/v2/repository/index", b"{}").json();
    let lines = index.as_array().expect("a list");
    let line = lines.iter().find(|line| line["name"] == model);
    let text = |key: &str| line.and_then(|l| l[key].as_str()).unwrap_or_default();
    (text("state").to_owned(), text("reason").to_owned())
}

#[test]
fn a_config_that_contradicts_the_graph_refuses_the_model_until_it_is_corrected() {
    let directory = Directory::empty();
    let wrong = [
        (
            "dims",
            "max_batch_size: 0\ninput { name: \"x\" data_type: TYPE_FP32 dims: [1, 2] }",
            "line 2: input 'x' has dims [1, 2]",
        ),
        (
            "dtype",
            "input { name: \"x\" data_type: TYPE_INT32 dims: [-1] }",
            "line 1: input 'x' is INT32 here and FP32",
        ),
        (
            "name",
            "\n\noutput { name: \"z\" data_type: TYPE_FP32 }",
            "line 3: output 'z' is not in the graph, which has y",
        ),
    ];
    for (model, config, _) in wrong {
        directory.put(model, 1, &copies("Identity", &[-1]));
        fs::write(directory.path().join(model).join("config.pbtxt"), config).expect("written");
    }
    directory.put("good", 1, &copies("Identity", &[-1]));
    let server = Server::start(directory.path());

    for (model, _, part) in wrong {
        let (state, reason) = index(&server, model);
        assert!(
            state == "UNAVAILABLE" && reason.contains(part),
            "{model}: {state} {reason}"
        );
        let config = directory.path().join(model).join("config.pbtxt");
        fs::write(config, "max_batch_size: 2").expect("written");
        eventually("the corrected model is served", || {
            index(&server, model).0 == "READY"
        });
    }
}

#[test]
fn an_edited_config_waits_and_says_so_once() {
    let directory = Directory::empty();
    directory.put("edited", 1, &copies("Identity", &[-1]));
    let server = Server::start(directory.path());
    let config = directory.path().join("edited/config.pbtxt");
    fs::write(&config, "max_batch_size: 4").expect("written");
    eventually("the index says why", || {
        index(&server, "edited")
            .1
            .contains("the change waits until a new version")
    });
    assert_eq!(server.log().matches("change not applied").count(), 1);

    fs::remove_file(&config).expect("removed");
    eventually("nothing waits", || {
        index(&server, "edited") == ("READY".into(), String::new())
    });
}

#[test]
fn an_edit_that_would_be_refused_is_reported_once_while_the_model_serves() {
    let directory = Directory::empty();
    directory.put("edited", 1, &copies("Identity", &[-1]));
    let server = Server::start(directory.path());
    let config = directory.path().join("edited/config.pbtxt");

    let edits = [
        ("garbage {", "line 1: expected '}'"),
        (
            "\nsequence_batching { }",
            "line 2: field 'sequence_batching'",
        ),
        (
            "input { name: \"x\" data_type: TYPE_INT32 }",
            "line 1: input 'x' is INT32 here",
        ),
    ];
    for (text, problem) in edits {
        fs::write(&config, text).expect("written");
        eventually("the index says what is wrong", || {
            let (state, reason) = index(&server, "edited");
            state == "READY" && reason.contains(problem) && reason.contains("would be refused")
        });
        let log = server.log();
        let told = log.lines().filter(|line| line.contains(problem));
        assert_eq!(told.count(), 1, "{log}");
    }

    fs::remove_file(&config).expect("removed");
    eventually("nothing waits", || {
        index(&server, "edited") == ("READY".into(), String::new())
    });
}

#[test]
fn warnings_of_onnx_runtime_are_logged_once_with_the_name_of_the_model() {
    let directory = Directory::empty();
    directory.put("warned", 1, &copies("Identity", &[1]));
    let lanes = settings(&["models.defaults.lanes=3"]);
    let server = Server::start_with(directory.path(), &lanes);
    for rows in [3, 2, 3, 5, 3] {
        let data = vec!["1"; rows].join(",");
        let body = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{rows}],"data":[{data}]}}]}}"#
        );
        let answer = server.post("/v2/models/warned/infer", body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    let log = server.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|l| l.contains("Expected shape"))
        .collect();
    assert!(
        matches!(&lines[..], [line] if line.contains("warned")),
        "{log}"
    );
}

#[test]
fn refusals_keep_the_words_of_onnx_runtime() {
    let directory = Directory::empty();
    directory.put("odd", 1, &copies("NoSuchOperator", &[-1]));
    let server = Server::start(directory.path());
    let (state, reason) = index(&server, "odd");
    assert_eq!(state, "UNAVAILABLE");
    let words = r#"In Node, ("", NoSuchOperator, "", -1)"#;
    assert!(reason.contains(words), "{reason}");
    assert!(
        reason.contains("No Op registered for NoSuchOperator"),
        "{reason}"
    );
}

#[test]
fn settings_of_triton_without_effect_are_accepted_and_named_once_in_the_log() {
    let directory = Directory::empty();
    directory.put("m", 1, &copies("Identity", &[-1]));
    let config = "\u{feff}output { name: \"y\" data_type: TYPE_FP32 dims: [ -0x1 ] \
                  }\nresponse_cache { enable: true }";
    fs::write(directory.path().join("m/config.pbtxt"), config).expect("written");
    let server = Server::start_with(directory.path(), &settings(&["log.level=\"ortus=info\""]));
    assert_eq!(index(&server, "m"), ("READY".into(), String::new()));
    let log = server.log();
    let notice = "answers are not cached";
    assert_eq!(log.matches(notice).count(), 1, "{log}");
}

/// A configuration whose output `y` has this label file.
fn labelled(file: &str) -> String {
    format!("output {{ name: \"y\" data_type: TYPE_FP32 dims: [ 3 ] label_filename: \"{file}\" }}")
}

#[test]
fn the_lines_of_a_label_file_name_the_classes() {
    let directory = Directory::empty();
    let scores = graphs::model(o::GraphProto {
        node: vec![graphs::node("Identity", &["x"], "y")],
        input: vec![graphs::declare("x", FLOAT, &[-1, 3])],
        output: vec![graphs::declare("y", FLOAT, &[-1, 3])],
        ..o::GraphProto::default()
    });
    directory.put("m", 1, &scores);
    let write = |file: &str, text: &str| {
        fs::write(directory.path().join("m").join(file), text).expect("written");
    };
    write("config.pbtxt", &labelled("labels.txt"));
    write("labels.txt", "cat\r\ndog, small\nhörse\n");
    let server = Server::start_with(
        directory.path(),
        &["--model-control", "explicit", "--set", "models.settle=0s"],
    );
    let load = || server.post("/v2/repository/models/m/load", b"");
    assert_eq!(load().status, 200);

    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[0.25,0.5,1]}],
                   "outputs":[{"name":"y","parameters":{"classification":2}}]}"#;
    let best = || {
        let answer = server.post("/v2/models/m/infer", body.as_bytes());
        answer.json()["outputs"][0]["data"].clone()
    };
    assert_eq!(
        best(),
        serde_json::json!(["1.000000:2:hörse", "0.500000:1:dog, small"])
    );
    let properties = server.get("/v2/models/m").json()["properties"].clone();
    assert_eq!(
        properties["ortus.classes.y"],
        r#"["cat","dog, small","hörse"]"#
    );

    // A change is applied by a load call, and one that does not fit is refused.
    write("labels.txt", "a\nb\nc");
    assert_eq!(load().status, 200);
    assert_eq!(best(), serde_json::json!(["1.000000:2:c", "0.500000:1:b"]));
    write("labels.txt", "a\nb");
    let refused = load();
    assert!(
        refused
            .text()
            .contains("has 3 columns, and its label file 2 lines"),
        "{}",
        refused.text()
    );
    write("config.pbtxt", &labelled("absent.txt"));
    let refused = load();
    let why = "output 'y': label_filename 'absent.txt': is not a file in the model's folder";
    assert!(refused.text().contains(why), "{}", refused.text());
    write("empty.txt", "");
    write("config.pbtxt", &labelled("empty.txt"));
    assert!(load().text().contains("has 0 lines"), "{}", load().text());
    assert_eq!(best(), serde_json::json!(["1.000000:2:c", "0.500000:1:b"]));
}

/// What every test of a version policy writes: it names no version that is there.
const NOWHERE: &str = "version_policy { specific { versions: [9] } }";

#[test]
fn a_policy_that_names_no_version_takes_nothing_out_of_service() {
    let directory = Directory::empty();
    directory.put("edited", 1, &copies("Identity", &[-1]));
    let server = Server::start(directory.path());
    let config = directory.path().join("edited/config.pbtxt");
    fs::write(&config, NOWHERE).expect("written");
    eventually("the index says so", || {
        let (state, reason) = index(&server, "edited");
        state == "READY" && reason.contains("none of these versions is there; it keeps serving")
    });
    let log = server.log();
    let told = "the version policy names no version that is there";
    assert_eq!(log.matches(told).count(), 1, "{log}");

    // A start has nothing to serve, and must not look like a success.
    let server = Server::start(directory.path());
    assert_eq!(server.get("/v2/health/ready").status, 400);
    let (state, reason) = index(&server, "edited");
    assert!(
        state == "UNAVAILABLE" && reason.contains("none of these versions is there"),
        "{state} {reason}"
    );
    fs::remove_file(&config).expect("removed");
    eventually("ready", || server.get("/v2/health/ready").status == 200);
}

#[test]
fn a_load_call_applies_an_edit_or_says_why_not() {
    let directory = Directory::empty();
    directory.put("edited", 1, &copies("Identity", &[-1]));
    let server = Server::start_with(directory.path(), &["--model-control", "explicit"]);
    let load = || server.post("/v2/repository/models/edited/load", b"{}");
    let rows = || server.get("/v2/models/edited/config").json()["max_batch_size"].clone();
    assert_eq!(load().status, 200);
    let config = directory.path().join("edited/config.pbtxt");
    fs::write(&config, "max_batch_size: 4").expect("written");
    eventually("the edit is applied", || {
        load().status == 200 && rows() == 4
    });

    for (text, part) in [
        ("garbage {", "line 1: expected '}'"),
        (
            "input { name: \"x\" data_type: TYPE_INT32 }",
            "input 'x' is INT32 here",
        ),
    ] {
        fs::write(&config, text).expect("written");
        eventually("the edit is refused", || {
            let answer = load();
            answer.status == 400 && answer.text().contains(part)
        });
        assert_eq!(index(&server, "edited").0, "READY");
        assert_eq!(rows(), 4);
    }

    assert_eq!(
        server
            .post("/v2/repository/models/edited/unload", b"{}")
            .status,
        200
    );
    fs::write(&config, NOWHERE).expect("written");
    eventually("the load is refused", || {
        let answer = load();
        answer.status == 400 && answer.text().contains("none of these versions is there")
    });
}

#[test]
fn the_configuration_that_the_server_gives_can_be_given_back() {
    let directory = Directory::empty();
    // Its output is declared with another shape than it has.
    directory.put("m", 1, &copies("Identity", &[1]));
    let folder = directory.path().join("m");
    fs::rename(folder.join("1/model.onnx"), folder.join("1/net.onnx")).expect("renamed");
    let text = "max_batch_size: 4
        dynamic_batching { default_queue_policy { max_queue_size: 64 default_timeout_microseconds: 3000 } }
        parameters { key: \"intra_op_thread_count\" value { string_value: \"2\" } }
        default_model_filename: \"net.onnx\" version_policy { specific { versions: [1] } }
        output { name: \"y\" data_type: TYPE_FP32 dims: [] label_filename: \"classes.txt\" }";
    fs::write(folder.join("config.pbtxt"), text).expect("written");
    fs::write(folder.join("classes.txt"), "only\n").expect("written");
    let server = Server::start_with(directory.path(), &["--model-control", "explicit"]);
    let load = |parameters: &serde_json::Value| {
        let body = serde_json::json!({ "parameters": parameters }).to_string();
        let answer = server.post("/v2/repository/models/m/load", body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        server.get("/v2/models/m/config").json()
    };
    let given = load(&serde_json::json!({}));
    assert_eq!(given["output"][0]["label_filename"], "classes.txt");
    assert_eq!(given["default_model_filename"], "net.onnx");
    let policy = &given["dynamic_batching"]["default_queue_policy"];
    assert_eq!(policy["max_queue_size"], 64);
    assert_eq!(policy["default_timeout_microseconds"], 3000);
    let threads = &given["parameters"]["intra_op_thread_count"];
    assert_eq!(threads["string_value"], "2");
    assert_eq!(given["version_policy"]["specific"]["versions"][0], 1);
    assert_eq!(
        load(&serde_json::json!({"config": given.to_string()})),
        given
    );
}

#[test]
fn clients_see_a_tensor_as_the_configuration_reshapes_it() {
    let directory = Directory::empty();
    directory.put("m", 1, &copies("Neg", &[-1]));
    let config = directory.path().join("m/config.pbtxt");
    let tensor = |role: &str, name: &str| {
        format!(
            "{role} {{ name: \"{name}\" data_type: TYPE_FP32 dims: [1] reshape {{ shape: [] }} }}\n"
        )
    };
    let text = format!(
        "max_batch_size: 4\n{}{}",
        tensor("input", "x"),
        tensor("output", "y")
    );
    fs::write(&config, &text).expect("written");
    let server = Server::start_with(directory.path(), &["--model-control", "explicit"]);
    let load = |body: &str| server.post("/v2/repository/models/m/load", body.as_bytes());
    assert_eq!(load("{}").status, 200);

    let metadata = server.get("/v2/models/m").json();
    assert_eq!(metadata["inputs"][0]["shape"], serde_json::json!([-1, 1]));
    assert_eq!(metadata["outputs"][0]["shape"], serde_json::json!([-1, 1]));
    let ask = |shape: &str| {
        let body = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape},"data":[1,2]}}]}}"#
        );
        server.post("/v2/models/m/infer", body.as_bytes())
    };
    let output = ask("[2,1]").json()["outputs"][0].clone();
    assert_eq!(output["shape"], serde_json::json!([2, 1]));
    assert_eq!(output["data"], serde_json::json!([-1.0, -2.0]));
    assert_eq!(ask("[2]").status, 400);
    let rows = server.post("/v1/models/m:predict", br#"{"instances":[[1],[2]]}"#);
    assert_eq!(
        rows.json()["predictions"],
        serde_json::json!([[-1.0], [-2.0]])
    );

    let given = server.get("/v2/models/m/config").json();
    assert_eq!(
        given["output"][0]["reshape"],
        serde_json::json!({"shape": []})
    );
    let again = serde_json::json!({"parameters": {"config": given.to_string()}});
    let loaded = load(&again.to_string());
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    assert_eq!(server.get("/v2/models/m/config").json(), given);
    // An edit is compared with the graph, not with what clients see.
    assert_eq!(load("{}").status, 200);
    let edited = text.replace("max_batch_size: 4", "max_batch_size: 8");
    fs::write(&config, edited).expect("written");
    eventually("the edit waits", || {
        server.log().contains("the change waits")
    });
    assert!(!server.log().contains("has reshape"), "{}", server.log());
    // What does not fit the graph is refused.
    fs::write(
        &config,
        text.replace(
            "dims: [1] reshape { shape: [] }",
            "dims: [2] reshape { shape: [2, 1] }",
        ),
    )
    .expect("written");
    let refused = load("{}");
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(
        refused.text().contains("has reshape [2, 1]"),
        "{}",
        refused.text()
    );
}
