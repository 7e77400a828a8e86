//! The trainer as a person runs it: from a file to a version that a server
//! answers by, and what stops it.

use crate::place::{Place, noise, table, trainer};
use crate::support::optional::{or_not_run, python, run};
use crate::support::ortus;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

#[test]
fn from_a_file_to_answers_and_the_same_run_once() {
    let place = Place::new();
    let data = place.write("buyers.csv", &table(4_000, 0.0));
    let spec = place.at("train.toml");
    run(trainer()
        .arg("init")
        .arg(&data)
        .args(["--target", "bought", "-o"])
        .arg(&spec))
    .expect("written");
    let text = std::fs::read_to_string(&spec).expect("text");
    assert!(
        text.contains("time = \"at\"") && text.contains("ignore = [\"id\"]"),
        "{text}"
    );
    let plan = run(trainer().arg("plan").arg(&spec)).expect("plans");
    assert!(
        plan.contains("predicts 'bought' (classification) by trees"),
        "{plan}"
    );
    assert!(plan.contains("split by time"), "{plan}");

    let (code, said, error) = place.run(&spec);
    assert_eq!(code, 0, "{said} {error}");
    assert_eq!(
        (said["became"].clone(), said["record"]["version"].clone()),
        (json!("published"), json!(1))
    );
    let accuracy = said["record"]["metrics"]["accuracy"]
        .as_f64()
        .expect("a measure");
    assert!(accuracy > 0.75, "{said}");
    let (code, again, _) = place.run(&spec);
    assert_eq!(
        (
            code,
            again["became"].clone(),
            again["record"]["version"].clone()
        ),
        (0, json!("equal"), json!(1))
    );
    assert_eq!(again["record"]["run"], said["record"]["run"]);

    place.registry.does(&["promote", "buyers", "1"]);
    let server = place.registry.serve(&[]);
    let one = |name: &str, datatype: &str, value: Value| json!({"name": name, "datatype": datatype, "shape": [1, 1], "data": [value]});
    let ask = |age: Value, colour: &str| {
        let inputs = [
            one("age", "FP32", age),
            one("income", "FP32", json!(500.0)),
            one("colour", "BYTES", json!(colour)),
        ];
        let answer = server.post(
            "/v2/models/buyers/infer",
            json!({"inputs": inputs}).to_string().as_bytes(),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        let outputs = answer.json()["outputs"]
            .as_array()
            .expect("outputs")
            .clone();
        let of = |name: &str| {
            outputs
                .iter()
                .find(|o| o["name"] == name)
                .expect("an output")["data"]
                .clone()
        };
        (
            of("label")[0].as_str().expect("a word").to_owned(),
            of("probabilities")[1].as_f64().expect("a number"),
        )
    };
    let (label, sure) = ask(json!(75.0), "red");
    assert!(label == "yes" && sure > 0.9, "{label} {sure}");
    let (label, sure) = ask(json!(25.0), "green");
    assert!(label == "no" && sure < 0.1, "{label} {sure}");
    assert_eq!(ask(json!(75.0), "no such colour").0, "yes");

    let manifest: Value =
        serde_json::from_str(&place.registry.does(&["show", "buyers:1", "--json"])).expect("JSON");
    let text = manifest.to_string();
    assert!(
        text.contains("data_digest") && text.contains("\"age\",\"income\",\"colour\""),
        "{text}"
    );
    let list = run(trainer().args(["runs", "buyers", "--registry", &place.registry.url()]))
        .expect("lists");
    assert!(
        list.contains("published") && list.contains("the same run made"),
        "{list}"
    );
    let key = said["record"]["run"].as_str().expect("a key")["sha256:".len()..][..12].to_owned();
    let why = run(trainer().args([
        "explain",
        "buyers",
        &key,
        "--registry",
        &place.registry.url(),
    ]))
    .expect("explains");
    assert!(
        why.contains("buyers.csv") && why.contains("version 1"),
        "{why}"
    );
    let drift: Value = serde_json::from_str(
        &run(ortus().args(["drift", "buyers", "--json", "--server", &server.operator]))
            .expect("answers"),
    )
    .expect("JSON");
    assert!(
        drift.to_string().contains("\"baseline\":\"training\""),
        "it brought its baseline: {drift}"
    );
}

#[test]
fn what_does_not_pass_is_not_published_and_says_why() {
    let place = Place::new();
    place.write("rows.csv", &table(3_000, 0.0));
    let fast = "[fit.trees]\nrounds_max = 30\n";
    let spec = |more: &str| {
        place.write(
            "train.toml",
            &format!("[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n{more}{fast}"),
        )
    };
    let verdict = |said: &Value, gate: &str| {
        let gates = said["record"]["gates"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        gates
            .iter()
            .find(|g| g["name"] == gate)
            .map(|g| g["verdict"].clone())
            .unwrap_or_default()
    };
    let (code, said, _) = place.run(&spec("[gates]\nbound = 0.01\n"));
    assert_eq!(
        (code, verdict(&said, "bound"), said["became"].clone()),
        (3, json!("fail"), json!("failed"))
    );
    let (code, said, _) = place.run(&spec("[gates]\nfirst = \"refused\"\n"));
    assert_eq!((code, verdict(&said, "champion")), (3, json!("fail")));
    assert_eq!(
        place.registry.run(&["show", "m"]).0,
        1,
        "nothing is published"
    );

    let (code, said, _) = place.run(&spec("[publish]\npolicy = \"champion\"\n"));
    assert_eq!(
        (code, verdict(&said, "champion"), verdict(&said, "first")),
        (0, json!("not_gated"), json!("pass"))
    );
    // Half the labels are thrown: it must be worse than the champion.
    let noisy: String = table(3_000, 0.0)
        .lines()
        .enumerate()
        .map(|(row, line)| match line.rsplit_once(',') {
            Some((rest, _)) if row > 0 && row < 2_300 => {
                format!(
                    "{rest},{}\n",
                    if noise(row, 9) < 0.5 { "yes" } else { "no" }
                )
            }
            _ => format!("{line}\n"),
        })
        .collect();
    place.write("rows.csv", &noisy);
    let (code, said, _) = place.run(&spec("[publish]\npolicy = \"champion\"\n"));
    assert_eq!(
        (code, verdict(&said, "champion")),
        (3, json!("fail")),
        "{said}"
    );

    let (code, said, _) = place.run(&spec(
        "[gates]\nregression_max = 9.0\n[publish]\npolicy = \"canary\"\ncanary_percent = 20\n",
    ));
    assert_eq!(
        (code, said["record"]["version"].clone()),
        (0, json!(2)),
        "{said}"
    );
    let shown: Value =
        serde_json::from_str(&place.registry.does(&["show", "m", "--json"])).expect("JSON");
    assert_eq!(
        shown["traffic"],
        json!({"champion": 80, "canary": 20}),
        "in the same entry: {shown}"
    );
    let history: Value =
        serde_json::from_str(&place.registry.does(&["history", "m", "--json"])).expect("JSON");
    assert_eq!(history.as_array().map(Vec::len), Some(2), "{history}");

    for (more, why) in [
        (
            "[fit]\nseeed = 1\n",
            "train.toml:10: unknown key 'seeed' in [fit]; did you mean 'seed'?",
        ),
        ("[data]\nsql = \"SELECT * FROM nothing\"\n", "the query:"),
        ("[data]\nage_max = \"1h\"\n", "'age_max' in [data]"),
        ("[gates]\nmeasure = \"mae\"\n", "of classes it is one of"),
    ] {
        let (code, _, error) = place.run(&spec(more));
        assert!(code == 1 && error.contains(why), "{more}: {code} {error}");
    }
    let missing = trainer()
        .args(["run", "nothing.toml", "--registry", &place.registry.url()])
        .output()
        .expect("runs");
    assert_eq!(missing.status.code(), Some(1));
    let list =
        run(trainer().args(["runs", "m", "--registry", &place.registry.url()])).expect("lists");
    assert!(
        list.contains("a gate failed") && list.contains("ended with an error"),
        "{list}"
    );
}

#[test]
fn origins_slices_calibration_and_balance_are_heeded() {
    let place = Place::new();
    place.write("rows.csv", &table(4_000, -2.0));
    let spec = |more: &str| {
        place.write(
            "train.toml",
            &format!("[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n[fit.trees]\nrounds_max = 60\n{more}"),
        )
    };
    let (code, plain, error) = place.run(&spec(
        "[split]\nfolds = 3\n[gates]\ncalibration_max = 0.2\n[publish]\npolicy = \"champion\"\n",
    ));
    assert_eq!(code, 0, "{plain} {error}");
    let origins = plain["record"]["origins"].as_array().expect("origins");
    assert_eq!(origins.len(), 2, "the last is the one that counts");
    assert!(
        origins[0]["train"].as_u64() < origins[1]["train"].as_u64()
            && origins[1]["metrics"]["auc"].is_number(),
        "{origins:?}"
    );
    let gate = |said: &Value, name: &str| {
        said["record"]["gates"]
            .as_array()
            .and_then(|all| all.iter().find(|g| g["name"] == name).cloned())
            .unwrap_or_default()
    };
    assert_eq!(gate(&plain, "calibration")["verdict"], json!("pass"));
    // Rare buyers weigh more: more of them are found, and scores say too much.
    let balanced = "[fit]\nbalanced = true\n[gates]\ncalibration_max = 0.02\nregression_max = 9.0\nslices = [\"colour\"]\nslice_regression_max = 9.0\n";
    let (code, said, error) = place.run(&spec(balanced));
    assert_eq!(code, 3, "{said} {error}");
    let recall = |said: &Value| {
        said["record"]["metrics"]["recall"]
            .as_f64()
            .expect("a measure")
    };
    assert!(
        recall(&said) > recall(&plain) + 0.05,
        "{} {}",
        recall(&said),
        recall(&plain)
    );
    let verdict = |name: &str| gate(&said, name)["verdict"].clone();
    assert!(
        verdict("calibration") != json!("pass") && verdict("slices") == json!("pass"),
        "{said}"
    );
    // A part that is answered worse is found, though the whole is allowed to be.
    let blind = "[fit]\nalgorithm = \"linear\"\n[fit.linear]\nl2 = 100000.0\n[gates]\nregression_max = 9.0\nslices = [\"colour\"]\nslice_regression_max = 0.02\n";
    let (code, said, _) = place.run(&spec(blind));
    let slices = gate(&said, "slices");
    assert!(
        code == 3
            && slices["verdict"] == json!("fail")
            && slices["reason"]
                .as_str()
                .is_some_and(|r| r.starts_with("colour = ")),
        "{slices}"
    );
}

#[test]
fn a_registry_that_goes_away_and_a_champion_that_cannot_be_asked_publish_nothing() {
    let place = Place::new();
    place.write("rows.csv", &table(3_000, 0.0));
    let spec = |name: &str| {
        place.write(
            "train.toml",
            &format!("[model]\nname = \"{name}\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n[fit.trees]\nrounds_max = 400\npatience = 400\n"),
        )
    };
    let wine = crate::support::models_folder().join("wine/1/model.onnx");
    place.registry.does(&[
        "push",
        "other",
        wine.to_str().expect("text"),
        "--alias",
        "champion",
    ]);
    let (code, said, _) = place.run(&spec("other"));
    let gates = said["record"]["gates"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let champion = gates
        .iter()
        .find(|g| g["name"] == "champion")
        .cloned()
        .unwrap_or_default();
    assert_eq!(
        (code, champion["verdict"].clone()),
        (3, json!("inconclusive")),
        "{said}"
    );
    assert!(
        champion["reason"]
            .as_str()
            .is_some_and(|r| r.contains("cannot be compared")),
        "{champion}"
    );

    let mut command = trainer();
    command
        .arg("run")
        .arg(spec("m"))
        .args(["--registry", &place.registry.url()]);
    let mut child = command
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("runs");
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().expect("piped")));
    while !lines
        .next()
        .expect("it goes on")
        .expect("text")
        .contains("learning from")
    {}
    // In the middle of it a file takes the store's place.
    let (store, away) = (place.registry.store(), place.at("away"));
    std::fs::rename(&store, &away).expect("moved");
    std::fs::write(&store, "").expect("written");
    let said: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("ended").code(), Some(1), "{said:?}");
    assert!(
        said.last()
            .is_some_and(|line| line.contains("in the store")),
        "{said:?}"
    );
    std::fs::remove_file(&store).expect("removed");
    std::fs::rename(&away, &store).expect("back");
    assert_eq!(
        place.registry.run(&["show", "m"]).0,
        1,
        "nothing is published"
    );
    let (code, said, error) = place.run(&spec("m"));
    assert_eq!(
        (code, said["record"]["version"].clone()),
        (0, json!(1)),
        "{error}"
    );
    place.registry.does(&["audit", "verify"]);
}

#[test]
fn a_model_of_values_brings_what_says_how_large_its_errors_are() {
    let place = Place::new();
    let mut text = "size,street,price\n".to_owned();
    for row in 0..6_000 {
        let size = 20.0 + 200.0 * noise(row, 1);
        let street = ["quiet", "loud"][(2.0 * noise(row, 2)) as usize];
        // Dear on quiet streets, and nobody knows how dear.
        let spread = if street == "quiet" { 40.0 } else { 4.0 };
        let price = 3.0 * size + spread * (noise(row, 3) + noise(row, 4) - 1.0);
        text.push_str(&format!("{size:.2},{street},{price:.3}\n"));
    }
    place.write("rows.csv", &text);
    let spec = place.write(
        "train.toml",
        "[model]\nname = \"prices\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"price\"\ntask = \"regression\"\n[fit.trees]\nrounds_max = 150\n[publish]\npolicy = \"champion\"\n",
    );
    let (code, said, error) = place.run(&spec);
    assert_eq!(code, 0, "{said} {error}");
    let told = |key: &str| said["record"]["companion"][key].as_f64().expect("a number");
    assert!(
        (told("estimated_mae") / told("mae") - 1.0).abs() < 0.15,
        "{}",
        said["record"]["companion"]
    );
    let into = place.at("pulled");
    place
        .registry
        .does(&["pull", "prices:1", "-o", into.to_str().expect("text")]);
    assert!(into.join("companion.onnx").is_file() && into.join("report.html").is_file());
    // Served, the estimate follows what is asked.
    let server = place.registry.serve(&[
        "--set",
        "monitor.window_rows=500",
        "--set",
        "monitor.window_min=1s",
        "--set",
        "monitor.cpu_share=1.0",
    ]);
    let ask = |street: &str| {
        for at in 0..40 {
            let sizes: Vec<f64> = (0..50)
                .map(|row| 20.0 + 200.0 * noise(row + at * 50, 7))
                .collect();
            let body = json!({"inputs": [
                {"name": "size", "datatype": "FP32", "shape": [50, 1], "data": sizes},
                {"name": "street", "datatype": "BYTES", "shape": [50, 1], "data": vec![street; 50]},
            ]});
            let answer = server.post("/v2/models/prices/infer", body.to_string().as_bytes());
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    ask("quiet");
    let found = crate::support::estimate::estimated(&server, "prices", 2_000)["measures"]["mae"]
        .as_f64()
        .expect("a number");
    // On quiet streets alone it is off by twice as much as on all.
    let real = 40.0 / 3.0;
    println!(
        "estimated {found:.2}, really about {real:.2}; {:.2} on all streets",
        told("mae")
    );
    assert!(
        (found / real - 1.0).abs() < 0.25 && found > 1.5 * told("mae"),
        "{found}"
    );
}

#[test]
fn rows_come_from_a_bucket_and_the_registry_may_be_one() {
    let Some(s3) = or_not_run("an S3 server", crate::support::registry::S3::start()) else {
        return;
    };
    let place = Place::new();
    let text = table(1_200, 0.0);
    let lines: Vec<&str> = text.lines().collect();
    for (at, part) in [&lines[1..500], &lines[500..]].into_iter().enumerate() {
        let body = format!("{}\n{}\n", lines[0], part.join("\n"));
        let put = crate::support::http(
            &format!("127.0.0.1:{}", s3.port),
            "PUT",
            &format!("/bucket/lake/part-{at}.csv"),
            &[],
            body.as_bytes(),
        );
        assert_eq!(put.status, 200);
    }
    let spec = |source: &str, more: &str| {
        place.write(
            "train.toml",
            &format!(
                "[model]\nname = \"m\"\n[data]\n{more}\n[data.sources]\nrows = \"{source}\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n[fit.trees]\nrounds_max = 10\n"
            ),
        )
    };
    let run = |spec: &Path| -> (i32, Value, String) {
        let mut command = trainer();
        command
            .arg("run")
            .arg(spec)
            .args(["--registry", "s3://bucket/registry", "--json"])
            .envs(s3.env());
        let output = command.output().expect("runs");
        let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (
            output.status.code().expect("an exit code"),
            said,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said, error) = run(&spec("s3://bucket/lake", ""));
    assert_eq!(
        (code, said["became"].clone()),
        (0, json!("published")),
        "{said} {error}"
    );
    let files = said["record"]["data"]["sources"][0]["files"]
        .as_array()
        .expect("files")
        .clone();
    assert_eq!(
        (files.len(), said["record"]["data"]["rows"].clone()),
        (2, json!(1_200)),
        "{files:?}"
    );
    // The same rows from a folder are the same run.
    place.write(
        "a.csv",
        &format!("{}\n{}\n", lines[0], lines[1..500].join("\n")),
    );
    std::fs::create_dir(place.at("lake")).expect("a folder");
    std::fs::rename(place.at("a.csv"), place.at("lake/a.csv")).expect("moved");
    std::fs::write(
        place.at("lake/b.csv"),
        format!("{}\n{}\n", lines[0], lines[500..].join("\n")),
    )
    .expect("written");
    let (code, same, error) = run(&spec("lake", ""));
    assert_eq!(
        (code, same["became"].clone()),
        (0, json!("equal")),
        "{same} {error}"
    );
    let (code, _, error) = run(&spec("s3://bucket/lake/part-1.csv", "rows_min = 5000"));
    assert!(
        code == 1 && error.contains("rows_min"),
        "one object alone: {error}"
    );
    let (code, _, error) = run(&spec("s3://bucket/nothing", ""));
    assert!(code == 1 && error.contains("holds no Parquet"), "{error}");
    let (code, _, error) = run(&spec(
        "s3://bucket/lake",
        "staged_max = \"1MiB\"\nrows_min = 2000",
    ));
    assert!(code == 1 && error.contains("rows_min"), "{error}");
}

#[test]
fn exported_graphs_satisfy_the_onnx_checker_and_weights_are_scikit_learns() {
    let Some(python) = or_not_run(
        "scikit-learn",
        python("test-monitor", "monitor/requirements.txt"),
    ) else {
        return;
    };
    let place = Place::new();
    let script = crate::support::root().join("tests/train/linear.py");
    run(Command::new(&python)
        .arg(&script)
        .arg("make")
        .arg(place.folder.path()))
    .expect("made");
    for task in ["values", "two", "three"] {
        for algorithm in ["linear", "trees"] {
            let name = format!("{task}-{algorithm}");
            let spec = place.write(
                "train.toml",
                &format!(
                    "[model]\nname = \"{name}\"\n[data.sources]\nrows = \"{task}.csv\"\n[schema]\ntarget = \"y\"\ntime = \"t\"\n\
                     [fit]\nalgorithm = \"{algorithm}\"\n[fit.trees]\nrounds_max = 20\n[fit.linear]\nl2 = 0.5\n"
                ),
            );
            let (code, said, error) = place.run(&spec);
            assert_eq!(code, 0, "{name}: {said} {error}");
            place.registry.does(&[
                "pull",
                &format!("{name}:1"),
                "-o",
                place.at(&name).to_str().expect("text"),
            ]);
        }
    }
    let said = run(Command::new(&python)
        .arg(&script)
        .arg("check")
        .arg(place.folder.path()))
    .expect("agrees");
    println!("{said}");
    assert!(said.contains("all the same"), "{said}");
}
