//! `init` on files as people have them: what it writes is taken by `run`, and what it refuses has a
//! reason and a way out.

mod files;

use crate::place::{Place, noise, trainer};
use crate::support::Server;
use crate::support::optional::run;
use files::{Expected, MessyFile};
use serde_json::{Value, json};

/// Runs `init` and `run` on each file; a gate may decide against the model, and nothing else may.
fn check(files: Vec<MessyFile>) {
    std::thread::scope(|scope| {
        for file in files {
            scope.spawn(move || check_file(&file));
        }
    });
}

fn check_file(file: &MessyFile) {
    let place = Place::new();
    let data = place.at(file.name);
    std::fs::write(&data, &file.bytes).expect("written");
    let spec = place.at("train.toml");
    let mut command = trainer();
    command
        .arg("init")
        .arg(&data)
        .args(["--target", file.target]);
    let output = command.arg("-o").arg(&spec).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = file.name;
    match file.expected {
        Expected::Refused(parts) => {
            assert_eq!(output.status.code(), Some(1), "{name}: {said}");
            for part in parts {
                assert!(error.contains(part), "{name}: {error} does not say {part}");
            }
            assert!(!spec.exists(), "{name}");
        }
        Expected::Taken(parts) => {
            assert!(output.status.success(), "{name}: {error}");
            for part in parts {
                assert!(said.contains(part), "{name}: {said} does not say {part}");
            }
            let (code, ran, error) = place.run(&spec);
            let text = std::fs::read_to_string(&spec).expect("text");
            assert!(
                code == 0 || code == 3,
                "{name}: `run` refuses what `init` wrote: {error}\n{text}"
            );
            assert!(ran["record"]["gates"].is_array(), "{name}: {ran}");
        }
    }
}

#[test]
fn plain_files_in_other_dialects_become_specifications() {
    check(files::dialects());
}

#[test]
fn targets_of_all_kinds_are_learned_or_refused_with_a_way_out() {
    check(files::targets());
}

#[test]
fn odd_columns_are_left_out_renamed_or_learned() {
    check(files::columns());
}

#[test]
fn repeated_rows_and_telling_columns_are_dealt_with() {
    check(files::copies());
}

#[test]
fn parquet_files_and_odd_names_become_specifications() {
    check(files::others());
}

#[test]
fn thousands_of_columns_are_cut_in_the_terminal_and_whole_on_the_page() {
    let place = Place::new();
    let data = place.at("wide.csv");
    std::fs::write(&data, files::wide(200, 3_000)).expect("written");
    let (spec, page) = (place.at("train.toml"), place.at("page.html"));
    let mut command = trainer();
    command
        .arg("init")
        .arg(&data)
        .args(["--target", "y", "-o"])
        .arg(&spec);
    let said = run(command.arg("--html").arg(&page)).expect("written");
    assert!(said.lines().count() < 200, "{said}");
    assert!(said.contains("… and 2941 more columns"), "{said}");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("<td>c0</td>") && page.contains("<td>c2999</td>"));
    run(trainer().arg("plan").arg(&spec)).expect("a run would take it");
}

#[test]
fn what_was_understood_is_json_too() {
    let place = Place::new();
    let data = place.write("buyers.csv", &crate::place::table(400, 0.0));
    let mut command = trainer();
    command
        .arg("init")
        .arg(&data)
        .args(["--target", "bought", "--json", "-o"]);
    let said = run(command.arg(place.at("train.toml"))).expect("written");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        (&said["rows"], &said["dialect"]),
        (&400.into(), &"commas".into())
    );
    let columns = said["columns"].as_array().expect("columns");
    let of = |name: &str| {
        columns
            .iter()
            .find(|c| c["name"] == name)
            .expect("a column")
    };
    assert_eq!(of("id")["used"], "left out: identifies the row");
    assert_eq!(of("colour")["kind"], "words");
}

/// Sends rows to a server and the truth of each back.
fn send_labelled_rows(server: &Server) {
    for request in 0..6 {
        let rows = request * 50..(request + 1) * 50;
        let column = |of: usize| rows.clone().map(move |row| noise(row, of));
        let ages: Vec<f64> = column(61).map(|v| 20.0 + 60.0 * v).collect();
        let incomes: Vec<f64> = column(62).map(|v| 1e3 * v).collect();
        let colours: Vec<&str> = column(63)
            .map(|v| if v < 0.5 { "red" } else { "blue" })
            .collect();
        let body = json!({"inputs": [
            {"name": "age", "datatype": "FP32", "shape": [50, 1], "data": ages},
            {"name": "income", "datatype": "FP32", "shape": [50, 1], "data": incomes},
            {"name": "colour", "datatype": "BYTES", "shape": [50, 1], "data": colours}
        ]});
        let answer = server.post("/v2/models/m/infer", body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer
            .header("ortus-prediction-id")
            .expect("an id")
            .to_owned();
        let labels: Vec<Value> = ages
            .iter()
            .enumerate()
            .map(|(row, age)| {
                let is_one = age + 20.0 * noise(row + request * 50, 64) > 60.0;
                json!({"prediction_id": id, "row": row, "label": if is_one { "yes" } else { "no" }})
            })
            .collect();
        let body = json!({ "labels": labels }).to_string();
        let answer = server.post("/v1/feedback", body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn captured_predictions_are_learned_from_without_the_answers_of_the_model() {
    let place = Place::new();
    place.write("rows.csv", &crate::place::table(1_000, 0.0));
    let first = place.write(
        "first.toml",
        "[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\", \"at\"]\n\
         [fit.trees]\nrounds_max = 20\n[publish]\npolicy = \"champion\"\n",
    );
    let (code, said, error) = place.run(&first);
    assert_eq!(code, 0, "{said} {error}");
    let capture = ["--set", "capture.share=1.0", "--set", "feedback.poll=200ms"];
    let mut server = place.registry.serve(&capture);
    send_labelled_rows(&server);
    server.terminate();
    assert_eq!(server.wait(), Some(0), "it writes what it captured");

    let (spec, registry) = (place.at("train.toml"), place.registry.url());
    let mut command = trainer();
    command
        .args(["init", "capture:m?days=1", "--target", "truth", "-o"])
        .arg(&spec);
    let said = run(command.args(["--registry", &registry])).expect("written");
    assert!(
        said.contains("'truth' is predicted as a class (no, yes) from 3 features"),
        "{said}"
    );
    assert!(
        said.contains("left out: the model's answer, or book-keeping"),
        "{said}"
    );

    // Without a list of what to ignore as well.
    let bare = place.write(
        "bare.toml",
        "[model]\nname = \"m\"\n[data.sources]\nrows = \"capture:m?days=1\"\n[schema]\ntarget = \"truth\"\n",
    );
    for spec in [&spec, &bare] {
        let plan = run(trainer()
            .arg("plan")
            .arg(spec)
            .args(["--registry", &registry, "--json"]));
        let plan: Value = serde_json::from_str(&plan.expect("plans")).expect("JSON");
        assert_eq!(
            plan["features"],
            json!(["age", "income", "colour"]),
            "{plan}"
        );
    }
    let noted = run(trainer()
        .arg("plan")
        .arg(&bare)
        .args(["--registry", &registry]));
    let noted = noted.expect("plans");
    assert!(
        noted.contains("no features, since they are outputs of the model or keep its books: 'prediction_id', 'row', 'time', 'label', 'probabilities"),
        "{noted}"
    );
    let (code, said, error) = place.run(&spec);
    assert!(code == 0 || code == 3, "{said} {error}");
}
