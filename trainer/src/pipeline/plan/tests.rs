//! Tests of `plan`.

use super::*;
use serde_json::json;

#[test]
fn a_plan_is_written_as_plans_have_always_been_written() {
    let data = DataManifest {
        columns: vec![("x".to_owned(), "Float64".to_owned())],
        rows: 10,
        sql: "SELECT * FROM rows".to_owned(),
        ..DataManifest::default()
    };
    let split = SplitSummary {
        by: "time".to_owned(),
        train: 6,
        stop: 2,
        test: 2,
        ..SplitSummary::default()
    };
    let plan = RunPlan {
        algorithm: "trees",
        classes: None,
        code: Vec::new(),
        data,
        data_digest: "sha256:ab".to_owned(),
        features: vec!["x".to_owned()],
        model: "m".to_owned(),
        notes: vec!["a note".to_owned()],
        objective: None,
        run: "sha256:cd".to_owned(),
        split,
        target: "y".to_owned(),
        task: "regression",
    };

    let expected = json!({
        "model": "m",
        "run": "sha256:cd",
        "code": [],
        "target": "y",
        "task": "regression",
        "classes": null,
        "features": ["x"],
        "algorithm": "trees",
        "data": {
            "columns": [["x", "Float64"]], "rows": 10, "sources": [], "sql": "SELECT * FROM rows",
        },
        "data_digest": "sha256:ab",
        "split": {"by": "time", "left_out": 0, "stop": 2, "test": 2, "train": 6},
        "notes": ["a note"],
    });
    let text = serde_json::to_string(&plan).expect("JSON");
    assert_eq!(text, expected.to_string());
}
