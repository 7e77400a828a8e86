//! The first run of a pushed model: measurements, and golden rows if none were
//! given.

use super::files::{Local, read_whole};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::onnx::first_run::{FirstRunSubject, GoldenRows, Passed};
use crate::onnx::golden::Golden;
use crate::onnx::graph::MODEL_BYTES_MAX;
use crate::onnx::runtime::SessionOptions;
use crate::registry::commands::Operator;
use crate::registry::entry::Evidence;
use crate::registry::manifest::{COMPANION_BYTES_MAX, GOLDEN_BYTES_MAX, MODEL_PATH, Role};
use serde_json::Value;
use std::fs;

/// Rows of the largest batch that is measured.
const ROWS: usize = 64;

/// The results of a first run that a push keeps.
#[derive(Default)]
pub(super) struct FirstRun {
    pub evidence: Option<Evidence>,
    pub golden: Option<String>,
}

impl Operator {
    /// Runs the model once in the sandbox. Refuses operators and operator sets that
    /// this ONNX Runtime lacks, and golden rows that the model does not reproduce,
    /// before any server loads the version.
    pub(super) fn first_run(&self, files: &[Local]) -> Result<FirstRun> {
        let find = |role| files.iter().find(|l| l.file.role == role);
        let given = find(Role::Golden)
            .map(|l| read_whole(l, GOLDEN_BYTES_MAX))
            .transpose()?;
        if let Some(bytes) = &given {
            Golden::read(bytes)?;
        }

        let Some(prober) = &self.prober else {
            return Ok(FirstRun::default());
        };

        let model = files.iter().find(|l| l.file.path == MODEL_PATH);
        let model = model.ok_or_else(|| Error::internal("a version has no model"))?;
        let bytes = read_whole(model, MODEL_BYTES_MAX)?;
        let path = fs::canonicalize(&model.path)
            .map_err(|e| Error::invalid("the model cannot be read").with_source(e))?;
        let passed = prober.check(&FirstRunSubject {
            digest: digest_of_all(files),
            bytes: &bytes,
            external_dir: path.parent().filter(|_| find(Role::Weights).is_some()),
            options: &SessionOptions::single(),
            rows: ROWS,
            golden: given
                .as_deref()
                .map_or(GoldenRows::Create, GoldenRows::Compare),
            padding: None,
        })?;

        if let Some(companion) = find(Role::Companion) {
            prober.check_companion(&read_whole(companion, COMPANION_BYTES_MAX)?)?;
        }
        Ok(FirstRun {
            evidence: Some(evidence(&passed, given.is_some())?),
            golden: passed.golden,
        })
    }
}

/// The verdict depends on the model and on the weights beside it.
fn digest_of_all(files: &[Local]) -> Digest {
    let lines = files
        .iter()
        .map(|l| format!("{} {}\n", l.file.path, l.file.digest));
    Digest::of(lines.collect::<String>().as_bytes())
}

fn evidence(passed: &Passed, is_golden_given: bool) -> Result<Evidence> {
    let Ok(Value::Object(mut values)) = serde_json::to_value(&passed.measured) else {
        return Err(Error::internal("measurements are not a JSON object"));
    };
    let golden = match &passed.golden {
        _ if is_golden_given => "given",
        Some(_) => "made",
        None => "none",
    };

    values.insert("golden".to_owned(), golden.into());
    Ok(Evidence {
        kind: "measured".to_owned(),
        values,
    })
}
