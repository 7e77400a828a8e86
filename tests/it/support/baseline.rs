//! Training baselines, made by `ortus profile`.

use super::optional::run;
use super::ortus;
use std::path::Path;

/// Makes the baseline of `folder`'s model from one of its tables, writes it to
/// `baseline.json` there and returns its bytes.
pub(crate) fn profile(folder: &Path, table: &str, label: &str) -> Vec<u8> {
    let into = folder.join("baseline.json");
    let mut command = ortus();
    command.arg("profile").arg(folder.join(table));
    command.arg("--onnx").arg(folder.join("model.onnx"));
    command.args(["--label", label, "-o"]).arg(&into);
    run(&mut command).expect("profiled");

    std::fs::read(into).expect("a baseline")
}
