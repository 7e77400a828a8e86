//! Exported graphs: the companion model, the ONNX checker, and the weights of
//! scikit-learn.

use crate::place::{Place, noise};
use crate::support::optional::{or_not_run, python, run};
use serde_json::json;
use std::process::Command;

#[test]
fn a_regression_model_is_published_with_a_companion_that_estimates_its_errors() {
    let place = Place::new();
    let mut text = "size,street,price\n".to_owned();
    for row in 0..6_000 {
        let size = 20.0 + 200.0 * noise(row, 1);
        let street = ["quiet", "loud"][(2.0 * noise(row, 2)) as usize];
        // Prices vary more on quiet streets.
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

    // The estimate of a server follows the rows that it predicts.
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
    // The mean error on quiet streets, almost twice that on all streets.
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
fn exported_graphs_satisfy_the_onnx_checker_and_weights_equal_those_of_scikit_learn() {
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

#[test]
fn a_version_may_be_asked_for_every_month_that_it_learned_from() {
    let place = Place::new();
    let mut text = "at,Monat,tag,x,y\n".to_owned();
    for row in 0..4_000 {
        // Two rows an hour of 83 days, from the first of October on: the last fifth is of December.
        let day = row / 48;
        let month = [10, 11, 12][usize::from(day >= 31) + usize::from(day >= 61)];
        let weekday = ["Po", "Út", "St", "Čt", "Pá", "So", "Ne"][day % 7];
        let of_month = day - [0, 31, 61][month - 10] + 1;
        let (hour, x) = (row / 2 % 24, noise(row, 1));
        let y = x + 0.1 * noise(row, 2) + month as f64;
        text.push_str(&format!(
            "2025-{month:02}-{of_month:02} {hour:02}:00:00,{month},{weekday},{x:.3},{y:.3}\n"
        ));
    }
    place.write("rows.csv", &text);
    // No December was learned from, so its mean is nearer to it than the model.
    let spec = place.write(
        "train.toml",
        "[model]\nname = \"orders\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"y\"\ntask = \"regression\"\ntime = \"at\"\n[split]\nby = \"time\"\ntest = 0.2\n[fit.trees]\nrounds_max = 40\n[gates]\nfirst = \"champion\"\nbaseline = false\n",
    );
    let (code, said, error) = place.run(&spec);
    assert_eq!(code, 0, "{said} {error}");
    let into = place.at("pulled");
    let to = into.to_str().expect("text");
    place.registry.does(&["pull", "orders:1", "-o", to]);
    let text = std::fs::read_to_string(into.join("baseline.json")).expect("a baseline");
    let baseline: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let column = |name: &str| {
        let all = baseline["inputs"].as_array().expect("inputs");
        all.iter()
            .find(|c| c["name"] == name)
            .expect("a column")
            .clone()
    };
    let month = column("Monat");
    assert_eq!(month["kind"], "cyclic", "{month}");
    assert_eq!(month["values"]["numbers"]["codes"], json!([10, 11, 12]));
    let weekday = column("tag");
    assert_eq!(
        weekday["reason"],
        "the time of the rows tells its value, by the day of the week"
    );
}
