//! Models that MLflow 3.17.2 wrote, and malformed ones.

use super::*;

/// Written by `mlflow.onnx.log_model` for the wine model; only the path of the
/// store was changed.
const WRITTEN: &str = include_str!("MLmodel-3.17.2");

#[test]
fn onnx_models_saved_by_mlflow_are_read() {
    let push = read(WRITTEN).expect("read");
    assert_eq!(
        (
            push.features.len(),
            push.features[0].as_str(),
            push.features[12].as_str()
        ),
        (13, "alcohol", "proline")
    );

    let run = &push.lineage["mlflow"];
    assert_eq!(
        (&run["run_id"], &run["mlflow_version"]),
        (&"f99b1f50d2d343bdbeb2a29ff7318b84".into(), &"3.17.2".into())
    );
    // Tensors have no columns.
    let tensors = WRITTEN.replace(
        "'[{\"type\": \"float\", \"name\": \"alcohol\"",
        "'[{\"type\": \"tensor\", \"name\": \"x\"",
    );

    assert_eq!(read(&tensors).expect("read").features, Vec::<String>::new());
    let bare = "flavors:\n  onnx:\n    data: model.onnx\n";
    assert_eq!(
        read(bare).expect("read").lineage["mlflow"],
        serde_json::json!({})
    );
}

#[test]
fn other_mlflow_models_are_refused() {
    let refused = |text: &str, part: &str| {
        let error = read(text)
            .err()
            .unwrap_or_else(|| panic!("{text} is taken"));
        assert!(
            error.message.contains(part),
            "{error} does not say {part:?}"
        );
    };

    refused(
        &WRITTEN.replace("  onnx:", "  sklearn:"),
        "no flavour `onnx`, only python_function, sklearn",
    );
    refused("", "no flavour");
    refused("flavors: [", "not in MLflow's format");
    refused(
        "flavors:\n  onnx:\n    data: ../../etc/passwd\n",
        "not model.onnx",
    );
    refused("flavors:\n  onnx: {}\n", "nowhere");
    refused(
        &WRITTEN.replace("inputs: '[{", "inputs: '{{"),
        "not a list in JSON",
    );
    // YAML aliases that expand without end must not exhaust the memory.
    let bomb: String = (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, i| {
        let before = i - 1;
        let refs = vec![format!("*a{before}"); 9].join(",");
        format!("{text}a{i}: &a{i} [{refs}]\n")
    });

    refused(
        &format!("{bomb}flavors:\n  onnx:\n    data: *a11\n"),
        "MLmodel",
    );
}
