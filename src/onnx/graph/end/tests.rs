//! Tests of `end`.

use crate::onnx::graph::Graph;
use std::path::Path;

#[test]
fn the_operators_behind_the_outputs_of_real_models_are_found() {
    let check = |model: &str, expected: &[(&str, &[&str])]| {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{model}/1/model.onnx"));
        let bytes = std::fs::read(path).expect("a model");
        let ends = Graph::read(bytes.into()).expect("reads").ends;
        let found: Vec<(&str, Vec<&str>)> = ends
            .iter()
            .map(|e| {
                (
                    e.operator.as_str(),
                    e.classes.iter().map(String::as_str).collect(),
                )
            })
            .collect();
        let expected: Vec<(&str, Vec<&str>)> =
            expected.iter().map(|(o, c)| (*o, c.to_vec())).collect();
        assert_eq!(found, expected, "{model}");
    };

    check(
        "breast-cancer",
        &[
            ("LinearClassifier", &["0", "1"]),
            ("LinearClassifier", &["0", "1"]),
        ],
    );

    check("digits", &[("ArgMax", &[]), ("Softmax", &[])]);
    check("diabetes", &[("TreeEnsembleRegressor", &[])]);
}
