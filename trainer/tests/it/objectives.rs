//! Objectives, monotone features, weights and calibration, from a file to the answers of a server.

use crate::place::{Place, noise, trainer};
use crate::support::Server;
use crate::support::optional::run;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Draws a count at a rate.
fn count(rate: f64, chance: f64) -> u32 {
    let (mut count, mut term) = (0, (-rate).exp());
    let mut passed = term;
    while passed < chance && count < 50 {
        count += 1;
        term *= rate / f64::from(count);
        passed += term;
    }
    count
}

/// A specification of 120 rounds on the rows of `rows.csv`, whose model becomes champion.
fn spec(place: &Place, name: &str, more: &str) -> PathBuf {
    spec_of(
        place,
        name,
        &format!("{more}[publish]\npolicy = \"champion\"\n"),
    )
}

/// The same, whose model becomes what `more` says.
fn spec_of(place: &Place, name: &str, more: &str) -> PathBuf {
    let fast = "[fit.trees]\nrounds_max = 120\nlearning_rate = 0.1\n";
    place.write(
        "train.toml",
        &format!("[model]\nname = \"{name}\"\n[data.sources]\nrows = \"rows.csv\"\n{fast}{more}"),
    )
}

/// Runs a specification that must publish; returns the record.
fn published(place: &Place, spec: &Path) -> Value {
    let (code, said, error) = place.run(spec);
    assert_eq!(
        (code, said["became"].clone()),
        (0, json!("published")),
        "{said} {error}"
    );
    said["record"].clone()
}

fn gate<'r>(record: &'r Value, name: &str) -> &'r Value {
    let gates = record["gates"].as_array().expect("gates");
    gates.iter().find(|gate| gate["name"] == name).expect(name)
}

fn reason<'r>(record: &'r Value, name: &str) -> &'r str {
    gate(record, name)["reason"].as_str().expect("a reason")
}

/// The values that a server gives for rows of one feature `x`.
fn values(server: &Server, model: &str, all: &[f64]) -> Vec<f64> {
    let input = json!({"name": "x", "datatype": "FP32", "shape": [all.len(), 1], "data": all});
    let answer = server.post(
        &format!("/v2/models/{model}/infer"),
        json!({"inputs": [input]}).to_string().as_bytes(),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let outputs = answer.json()["outputs"].clone();
    let data = outputs[0]["data"].as_array().expect("values").clone();
    data.iter().map(|v| v.as_f64().expect("a number")).collect()
}

#[test]
fn counts_become_a_model_of_rates_that_a_server_answers() {
    let place = Place::new();
    let rate = |x: f64| (2.0 * x - 1.0).exp();
    let line = |row: usize| {
        let x = noise(row, 1);
        format!("{x:.6},{}\n", count(rate(x), noise(row, 2)))
    };
    place.write(
        "rows.csv",
        &format!("x,claims\n{}", (0..6_000).map(line).collect::<String>()),
    );
    let more = "[schema]\ntarget = \"claims\"\n[data]\nduplicates_max = 1.0\n[fit]\nobjective = \"poisson\"\nmonotone = { x = \"increasing\" }\n";
    let file = spec(&place, "claims", more);

    let plan = run(trainer().arg("plan").arg(&file)).expect("plans");
    assert!(
        plan.contains("predicts 'claims' (regression, objective poisson) by trees"),
        "{plan}"
    );
    let record = published(&place, &file);
    assert_eq!(record["objective"], json!("poisson"));
    let deviance = record["metrics"]["poisson_deviance"]
        .as_f64()
        .expect("measured");
    assert!(deviance < 1.2, "{record}");
    assert!(
        reason(&record, "bound").starts_with("poisson_deviance "),
        "{record}"
    );
    assert!(
        reason(&record, "baseline").starts_with("poisson_deviance minus that of guessing the mean"),
        "{record}"
    );

    let server = place.registry.serve(&[]);
    let grid: Vec<f64> = (0..=40).map(|step| f64::from(step) / 40.0).collect();
    let found = values(&server, "claims", &grid);
    assert!(found.is_sorted(), "rates never fall with x: {found:?}");
    for at in [4, 20, 36] {
        let expected = rate(grid[at]);
        assert!(
            (found[at] / expected - 1.0).abs() < 0.25,
            "{} {expected}",
            found[at]
        );
    }

    // A champion of another objective is judged by the measure of the new run.
    let squared = more.replace("\"poisson\"", "\"squared\"");
    let file = spec(
        &place,
        "claims",
        &format!("{squared}[gates]\nmeasure = \"poisson_deviance\"\nregression_max = 0.5\n"),
    );
    let record = published(&place, &file);
    let champion = reason(&record, "champion");
    assert!(
        champion.starts_with("poisson_deviance minus the champion's"),
        "{champion}"
    );
}

#[test]
fn a_quantile_is_served_and_covers_its_share() {
    let place = Place::new();
    // Above x the values spread evenly over x + 1.
    let line = |row: usize| {
        let x = noise(row, 1);
        format!("{x:.6},{:.6}\n", x + (1.0 + x) * noise(row, 2))
    };
    place.write(
        "rows.csv",
        &format!("x,wait\n{}", (0..6_000).map(line).collect::<String>()),
    );
    let more = "[schema]\ntarget = \"wait\"\n[fit]\nobjective = \"quantile\"\nquantile = 0.9\n";
    let record = published(&place, &spec(&place, "wait", more));
    let coverage = record["metrics"]["coverage"].as_f64().expect("measured");
    assert!((coverage - 0.9).abs() < 0.04, "{record}");
    assert!(
        reason(&record, "bound").starts_with("pinball_loss "),
        "{record}"
    );
    assert!(
        reason(&record, "baseline").contains("guessing the quantile"),
        "{record}"
    );

    let server = place.registry.serve(&[]);
    let grid = [0.1, 0.5, 0.9];
    for (x, found) in grid.iter().zip(values(&server, "wait", &grid)) {
        let expected = x + 0.9 * (1.0 + x);
        assert!((found - expected).abs() < 0.2, "{x}: {found} {expected}");
    }
}

#[test]
fn a_ranking_orders_the_rows_of_a_query() {
    let place = Place::new();
    let line = |row: usize| {
        let x = noise(row, 1);
        let grade = (4.0 * (0.8 * x + 0.2 * noise(row, 2))).floor();
        format!("q{},{x:.6},{grade}\n", row / 12)
    };
    place.write(
        "rows.csv",
        &format!(
            "query,x,grade\n{}",
            (0..6_000).map(line).collect::<String>()
        ),
    );
    let more = "[schema]\ntarget = \"grade\"\ngroup = \"query\"\n[fit]\nobjective = \"lambdarank\"\n[gates]\nbound = 0.85\n";
    let record = published(&place, &spec(&place, "search", more));
    assert_eq!(record["split"]["by"], json!("group"));
    for name in ["ndcg_at_5", "ndcg_at_10"] {
        assert!(record["metrics"][name].as_f64() > Some(0.9), "{record}");
    }
    let bound = gate(&record, "bound");
    assert_eq!(bound["verdict"], json!("pass"), "{bound}");
    assert!(
        reason(&record, "bound").starts_with("ndcg_at_10 0.9"),
        "{bound}"
    );
    // Each query is one observation: a fifth of 500.
    assert_eq!(bound["interval"]["clusters"], json!(100), "{bound}");
    assert!(
        reason(&record, "baseline").contains("guessing the same score for each row"),
        "{record}"
    );

    let server = place.registry.serve(&[]);
    let found = values(&server, "search", &[0.1, 0.5, 0.95]);
    assert!(found.is_sorted(), "{found:?}");

    // Scores have no unit, so that another objective cannot be compared with them.
    let squared = more
        .replace("\"lambdarank\"", "\"squared\"")
        .replace("bound = 0.85", "first = \"pass\"");
    let (code, said, _) = place.run(&spec(&place, "search", &squared));
    let champion = reason(&said["record"], "champion");
    assert_eq!(code, 3, "{said}");
    assert!(
        champion.contains("it ranks the rows of a query"),
        "{champion}"
    );
}

#[test]
fn a_calibration_gate_says_what_to_set_and_passes_with_it() {
    let place = Place::new();
    // Rows of which a quarter are of the class; balanced classes bend the probabilities.
    let line = |row: usize| {
        let x = noise(row, 1);
        let p = 0.02 + 0.45 * x * x;
        let word = if noise(row, 2) < p { "yes" } else { "no" };
        format!("{x:.6},{word},{}\n", 1 + row % 2)
    };
    place.write(
        "rows.csv",
        &format!("x,sold,w\n{}", (0..12_000).map(line).collect::<String>()),
    );
    let more = "[schema]\ntarget = \"sold\"\nweight = \"w\"\n[gates]\ncalibration_max = 0.08\nbaseline = false\n[fit]\nbalanced = true\n";
    let (code, said, error) = place.run(&spec(&place, "sold", more));
    assert_eq!(code, 3, "{said} {error}");
    let found = reason(&said["record"], "calibration");
    assert!(
        found.contains("calibration = \"isotonic\" or \"platt\" in [fit]"),
        "{found}"
    );

    for method in ["isotonic", "platt"] {
        let more = format!("{more}calibration = \"{method}\"\n");
        let file = spec_of(&place, "sold", &more);
        let record = published(&place, &file);
        assert_eq!(
            gate(&record, "calibration")["verdict"],
            json!("pass"),
            "{record}"
        );
        assert_eq!(gate(&record, "parity")["verdict"], json!("pass"));
        assert!(record["metrics"]["auc"].as_f64() > Some(0.7), "{record}");
    }
}
