//! The wire fits the trainer: rows of the file, sent as JSON, give what training gave. The probabilities
//! that a server answers for the rows that judged the model have the loss that the run's record has.

use crate::place::{Place, noise};
use crate::support::Server;
use chrono::{DateTime, NaiveDateTime};
use serde_json::{Map, Value, json};

const SPEC: &str = r#"[model]
name = "m"
[data.sources]
rows = "rows.csv"
[schema]
target = "left"
time = "at"
[schema.calendar]
asked_at = ["hour", "weekday"]
[fit.trees]
rounds_max = 40
[publish]
policy = "champion"
"#;

const COLUMNS: [&str; 8] = [
    "at", "age", "member", "zip", "colour", "account", "asked_at", "left",
];

/// A row as the file has it: missing numbers, words and truth values, zips with leading zeros, numbers
/// that FP32 would merge, and times.
fn cells(row: usize) -> [String; 8] {
    let time = |minutes: usize| {
        let at = DateTime::from_timestamp(1_767_225_600 + 60 * minutes as i64, 0).expect("a time");
        at.format("%Y-%m-%d %H:%M:%S").to_string()
    };
    let or_missing = |of: usize, missing: &str, value: String| match noise(row, of) < 0.1 {
        true => missing.to_owned(),
        false => value,
    };
    let age = 20.0 + 60.0 * noise(row, 1);
    let member = noise(row, 2) < 0.4;
    let zip = (9.0 * noise(row, 3)) as usize;
    let colour = ["red", "green", "blue"][(3.0 * noise(row, 4)) as usize];
    let account = 490_000_000_000 + (1_000.0 * noise(row, 5)) as u64;
    let asked = (40_000.0 * noise(row, 6)) as usize;
    let is_late = asked / 60 % 24 >= 18;
    let score = (age - 50.0) / 10.0
        + if member { -1.5 } else { 1.0 }
        + if zip < 3 { 2.0 } else { -0.5 }
        + if colour == "red" { 1.0 } else { 0.0 }
        + if account % 1_000 < 300 { 1.5 } else { -0.5 }
        + if is_late { 2.0 } else { -1.0 };
    let left = noise(row, 7) < 1.0 / (1.0 + (-score).exp());
    [
        time(20 * row),
        or_missing(8, "NA", format!("{age:.2}")),
        or_missing(9, "", member.to_string()),
        or_missing(10, "", format!("0{zip}207")),
        or_missing(11, "", colour.to_owned()),
        account.to_string(),
        or_missing(12, "", time(asked)),
        if left { "yes" } else { "no" }.to_owned(),
    ]
}

/// A cell as JSON: null where it is missing.
fn as_json(column: &str, cell: &str) -> Value {
    match (column, cell) {
        (_, "" | "NA") => Value::Null,
        ("member", truth) => json!(truth == "true"),
        ("age", number) => json!(number.parse::<f64>().expect("a number")),
        ("account", number) => json!(number.parse::<u64>().expect("a number")),
        ("asked_at", time) => {
            let time = NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").expect("a time");
            json!(time.and_utc().timestamp())
        }
        (_, word) => json!(word),
    }
}

/// The inputs of a row by name.
fn named(row: &[String; 8]) -> Map<String, Value> {
    let all = COLUMNS.iter().zip(row).skip(1).take(6);
    all.map(|(column, cell)| ((*column).to_owned(), as_json(column, cell)))
        .collect()
}

/// The same, with times as the file has them.
fn with_time(row: &[String; 8]) -> Map<String, Value> {
    let mut all = named(row);
    if !all["asked_at"].is_null() {
        all.insert("asked_at".to_owned(), json!(row[6]));
    }
    all
}

/// Asks for rows by the Open Inference Protocol; returns the probability of the second class of each.
fn infer(server: &Server, inputs: &[Value], rows: &[Map<String, Value>]) -> Vec<f64> {
    let inputs: Vec<Value> = inputs
        .iter()
        .map(|input| {
            let name = input["name"].as_str().expect("a name");
            let data: Vec<&Value> = rows.iter().map(|row| &row[name]).collect();
            json!({"name": name, "datatype": input["datatype"], "shape": [rows.len(), 1], "data": data})
        })
        .collect();
    let body = json!({ "inputs": inputs }).to_string();
    let answer = server.post("/v2/models/m/infer", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let outputs = answer["outputs"].as_array().expect("outputs");
    let scores = outputs.iter().find(|o| o["name"] == "probabilities");
    let scores: Vec<f64> =
        serde_json::from_value(scores.expect("scores")["data"].clone()).expect("numbers");
    scores.chunks(2).map(|row| row[1]).collect()
}

/// The same rows as a table.
fn table(server: &Server, rows: &[Map<String, Value>]) -> Vec<f64> {
    let body = json!({ "instances": rows }).to_string();
    let answer = server.post("/v1/models/m:predict", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let predictions = answer["predictions"].as_array().expect("predictions");
    predictions
        .iter()
        .map(|row| row["probabilities"][1].as_f64().expect("a number"))
        .collect()
}

fn log_loss(probabilities: &[f64], rows: &[[String; 8]]) -> f64 {
    let of = |(p, row): (&f64, &[String; 8])| {
        if row[7] == "yes" {
            -p.ln()
        } else {
            -(1.0 - p).ln()
        }
    };
    probabilities.iter().zip(rows).map(of).sum::<f64>() / rows.len() as f64
}

#[test]
fn rows_of_the_file_as_json_give_what_training_gave() {
    let place = Place::new();
    let all: Vec<[String; 8]> = (0..3_000).map(cells).collect();
    let mut text = COLUMNS.join(",") + "\n";
    for row in &all {
        text += &(row.join(",") + "\n");
    }
    place.write("rows.csv", &text);
    let (code, said, error) = place.run(&place.write("train.toml", SPEC));
    assert_eq!(code, 0, "{said} {error}");
    let expected = said["record"]["metrics"]["log_loss"].as_f64();
    let expected = expected.unwrap_or_else(|| panic!("no loss: {said}"));

    let server = Server::start_from(&["--registry", &place.registry.url()]);
    let metadata = server.get("/v2/models/m").json();
    let inputs = metadata["inputs"].as_array().expect("inputs").clone();
    let type_of = |name: &str| {
        let found = inputs.iter().find(|input| input["name"] == name);
        found.map(|input| input["datatype"].clone())
    };
    assert_eq!(
        type_of("zip"),
        Some(json!("BYTES")),
        "leading zeros stay text"
    );
    assert_eq!(type_of("account"), Some(json!("FP64")), "{metadata}");

    // By time: the newest fifth judges the model.
    let judging = &all[all.len() - all.len() / 5..];
    let rows: Vec<Map<String, Value>> = judging.iter().map(named).collect();
    let as_written: Vec<Map<String, Value>> = judging.iter().map(with_time).collect();
    let missing = rows.iter().flat_map(Map::values).filter(|v| v.is_null());
    assert!(missing.count() > 100);
    for (by, found) in [
        ("inputs", infer(&server, &inputs, &rows)),
        ("table", table(&server, &rows)),
        (
            "table with times as the file has them",
            table(&server, &as_written),
        ),
    ] {
        let found = log_loss(&found, judging);
        assert!(
            (found - expected).abs() < 1e-6,
            "{by}: {found} and {expected}"
        );
    }
    // It does depend on what is missing.
    let mut filled = rows.clone();
    filled
        .iter_mut()
        .filter(|row| row["age"].is_null())
        .for_each(|row| {
            row.insert("age".to_owned(), json!(0));
        });
    let other = log_loss(&infer(&server, &inputs, &filled), judging);
    assert!((other - expected).abs() > 1e-5, "{other} and {expected}");
}
