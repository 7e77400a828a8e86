//! The rule changes while the inputs stay as they were: only labels show it. An alarm about losses waits
//! for labelled rows of after it, and a model that learned from them becomes champion.

use crate::place::{Place, noise, table};
use crate::support::{Server, eventually};
use serde_json::{Value, json};
use std::path::Path;

const SPEC: &str = r#"[model]
name = "m"
[data.sources]
rows = "rows.csv"
[schema]
target = "bought"
ignore = ["id"]
time = "at"
[fit.trees]
rounds_max = 30
[publish]
policy = "champion"
[triggers]
loss = true
cooldown = "0s"
"#;

fn due(place: &Place, spec: &Path) -> Vec<Value> {
    let status: Value = serde_json::from_str(&place.does(&["status"], spec)).expect("JSON");
    status["due"].as_array().expect("events").clone()
}

/// The inputs of a row, as they have always been.
struct Person {
    age: Option<f64>,
    income: f64,
    colour: &'static str,
}

fn person(row: usize) -> Person {
    Person {
        age: (noise(row, 25) >= 0.1).then(|| 20.0 + 60.0 * noise(row, 21)),
        income: 1e3 * noise(row, 22),
        colour: ["red", "green", "blue"][(3.0 * noise(row, 23)) as usize],
    }
}

/// Asks for rows like those of the training data, and labels each with the class that was not answered.
fn answer_wrongly(server: &Server) {
    for row in 0..200 {
        let Person {
            age,
            income,
            colour,
        } = person(row);
        let number = |name: &str, value: Option<f64>| json!({"name": name, "datatype": "FP32", "shape": [1, 1], "data": [value]});
        let body = json!({"inputs": [
            number("age", age), number("income", Some(income)),
            {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": [colour]}
        ]});
        let answer = server.post("/v2/models/m/infer", body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer
            .header("ortus-prediction-id")
            .expect("an id")
            .to_owned();
        let outputs = answer.json();
        let outputs = outputs["outputs"].as_array().expect("outputs");
        let label = outputs.iter().find(|output| output["name"] == "label");
        let answered = label.map(|label| label["data"][0].clone());
        let other = match answered == Some(json!("yes")) {
            true => "no",
            false => "yes",
        };
        let labels = json!({"labels": [{"prediction_id": id, "row": 0, "label": other}]});
        let given = server.post("/v1/feedback", labels.to_string().as_bytes());
        assert_eq!(given.status, 200, "{}", given.text());
    }
}

/// Labelled rows of after now, by another rule.
fn later(rows: usize) -> String {
    let now = chrono::Utc::now();
    let line = |row: usize| {
        let at = now + chrono::TimeDelta::microseconds(row as i64);
        let at = at.format("%Y-%m-%dT%H:%M:%S%.6f");
        let Person {
            age,
            income,
            colour,
        } = person(row + 10_000);
        let bought = if income < 500.0 { "yes" } else { "no" };
        let age = age.map_or_else(String::new, |age| format!("{age:.2}"));
        format!("new{row},{at},{age},{income:.3},{colour},{bought}\n")
    };
    (0..rows).map(line).collect()
}

#[test]
fn a_changed_rule_is_learned_from_labels_and_the_new_model_serves() {
    let place = Place::new();
    // As precise as the rows that come later.
    let old = table(2_000, 0.0).replace(":00,", ":00.000000,");
    place.write("rows.csv", &old);
    let file = place.write("train.toml", SPEC);
    let (code, said, error) = place.run(&file);
    assert_eq!(code, 0, "{said} {error}");

    let server = Server::start_from(&["--registry", &place.registry.url()]);
    answer_wrongly(&server);
    eventually("an alarm about losses", || !due(&place, &file).is_empty());
    let found = due(&place, &file);
    let told = |event: &Value| {
        let is = |field: &str, text: &str| {
            event[field]
                .as_str()
                .is_some_and(|said| said.starts_with(text))
        };
        is("why", "alarm: losses") && is("waits", "0 of 500 labelled rows of after the alarm of ")
    };
    assert!(found.iter().all(told), "{found:?}");
    let noted = place.watch_once(&file);
    assert!(
        noted.iter().all(|ran| ran["became"] == "skipped"),
        "{noted:?}"
    );
    assert_eq!(place.watch_once(&file), Vec::<Value>::new(), "said once");

    place.write("rows.csv", &(old + &later(2_400)));
    let mut ran = Vec::new();
    eventually("a run", || {
        ran = place.watch_once(&file);
        !ran.is_empty()
    });
    check_champion(&place, &file, &ran);
    drop(server);
}

/// The new model is champion, loses less on rows of after the change, and is made once.
fn check_champion(place: &Place, file: &Path, ran: &[Value]) {
    assert_eq!(
        (ran.len(), &ran[0]["became"]),
        (1, &json!("published")),
        "{ran:?}"
    );
    let record = &ran[0]["record"];
    let loss = |of: &str| record[of]["log_loss"].as_f64().expect("a loss");
    let (new, before) = (loss("metrics"), loss("champion_metrics"));
    assert!(new < 0.7 * before, "{new} beside {before}");
    // The inputs are as they were, so nothing holds the version.
    assert_eq!(record["held"], Value::Null, "{}", record["rows_changed"]);

    assert_eq!(place.watch_once(file), Vec::<Value>::new(), "once");
    let shown = place.registry.does(&["show", "m", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        shown["versions"].as_array().map(Vec::len),
        Some(2),
        "{shown}"
    );
    let history = place.registry.does(&["history", "m"]);
    assert!(
        history.contains("trained by ortus-trainer; alarm: losses"),
        "{history}"
    );
}
