//! A canary beside its champion, as an operator looks at them: in `performance` and on the page.

use crate::support::optional::run;
use crate::support::registry::Registry;
use crate::support::{Server, eventually, models_folder, ortus};
use serde_json::{Value, json};

/// Row `at` of 8 × 8 pixels.
fn image(at: usize) -> Vec<f64> {
    let pixel = |i: usize| ((at * 31 + i * 17) * 2_654_435_761 % 1_000) as f64 / 62.5;
    (0..64).map(pixel).collect()
}

/// Asks a version for rows, and labels each with the class that `truth` names.
fn ask_and_label(
    server: &Server,
    version: u64,
    rows: usize,
    truth: impl Fn(usize, &Value) -> Value,
) {
    let flat: Vec<f64> = (0..rows).flat_map(image).collect();
    let body = json!({"inputs": [
        {"name": "image", "datatype": "FP32", "shape": [rows, 1, 8, 8], "data": flat}
    ]});
    let path = format!("/v2/models/digits/versions/{version}/infer");
    let answer = server.post(&path, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer
        .header("ortus-prediction-id")
        .expect("an id")
        .to_owned();
    let outputs = answer.json();
    let outputs = outputs["outputs"].as_array().expect("outputs").clone();
    let classes = outputs.iter().find(|output| output["name"] == "label");
    let classes = &classes.expect("the class")["data"];
    let label =
        |row: usize| json!({"prediction_id": id, "row": row, "label": truth(row, &classes[row])});
    let labels: Vec<Value> = (0..rows).map(label).collect();
    let given = server.post(
        "/v1/feedback",
        json!({ "labels": labels }).to_string().as_bytes(),
    );
    assert_eq!(given.status, 200, "{}", given.text());
}

fn performance(server: &Server, more: &[&str]) -> String {
    let mut command = ortus();
    command.args(["performance", "digits", "--server", &server.operator]);
    run(command.args(more)).expect("answers")
}

/// The class after a class.
fn other(class: &Value) -> Value {
    json!((class.as_u64().expect("a class") + 1) % 10)
}

#[test]
fn a_canary_stands_beside_its_champion_with_what_labels_say() {
    let registry = Registry::new();
    let models = models_folder();
    let of = |version: &str| models.join("digits").join(version).display().to_string();
    registry.does(&["push", "digits", &of("1"), "--alias", "champion"]);
    registry.does(&["push", "digits", &of(".next"), "--alias", "canary"]);
    registry.does(&["traffic", "digits", "champion=95", "canary=5"]);
    let server = registry.serve(&["--set", "feedback.poll=200ms"]);
    eventually("both versions serve", || {
        ["1", "2"].iter().all(|version| {
            let path = format!("/v2/models/digits/versions/{version}/ready");
            server.get(&path).status == 200
        })
    });

    let said = performance(&server, &[]);
    assert!(
        said.contains(
            "version 2 cannot be compared with version 1 by labels: 0 labelled rows and 0"
        ),
        "{said}"
    );

    // The champion is right in 9 of 10 rows, the canary in 6 of 10.
    ask_and_label(&server, 1, 400, |row, class| {
        if row % 10 == 0 {
            other(class)
        } else {
            class.clone()
        }
    });
    ask_and_label(&server, 2, 100, |row, class| {
        if row % 10 < 4 {
            other(class)
        } else {
            class.clone()
        }
    });
    let mut found = Value::Null;
    eventually("all labels are counted", || {
        found = serde_json::from_str(&performance(&server, &["--json"])).expect("JSON");
        let rows = |at: usize| found["compared"][at]["labelled_rows"].clone();
        (rows(0), rows(1)) == (json!(400), json!(100))
    });
    let [champion, canary] = [&found["compared"][0], &found["compared"][1]];
    assert_eq!(
        (&champion["aliases"], &champion["traffic"]),
        (&json!(["champion"]), &json!(95))
    );
    assert_eq!(
        (&canary["aliases"], &canary["traffic"]),
        (&json!(["canary"]), &json!(5))
    );
    assert_eq!(
        (&canary["requests"], &canary["failed_share"]),
        (&json!(1), &json!(0.0))
    );
    assert_eq!(canary["measured"]["value"], json!(0.6));
    let difference = &canary["difference"]["value"];
    assert!(
        (difference.as_f64().expect("a number") + 0.3).abs() < 1e-9,
        "{difference}"
    );

    check_texts(&server, &registry);
}

/// The table, the sentence and the page.
fn check_texts(server: &Server, registry: &Registry) {
    let said = performance(server, &[]);
    assert!(said.contains("canary, 5 % of requests"), "{said}");
    let sentence = "version 2: worse than version 1 by labels: accuracy -0.3000 (";
    assert!(said.contains(sentence), "{said}");
    let page = registry.0.path().join("page.html");
    let mut report = ortus();
    report
        .args(["report", "digits", "--server", &server.operator, "-o"])
        .arg(&page);
    run(&mut report).expect("written");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(
        page.contains(sentence) && page.contains("canary, 5 % of requests"),
        "{page}"
    );
}
