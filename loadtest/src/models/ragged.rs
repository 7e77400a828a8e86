//! Rows of different lengths with their answers, kept beside a model that takes any length.

use super::value;
use crate::Result;
use crate::floors::raw;
use crate::golden::Golden;
use crate::models::rows::ModelRows;
use crate::requests::Input;
use crate::schedule::Random;
use ort::session::Session;
use serde_json::Value;
use std::path::Path;

const FILE: &str = "ragged.json";
const SEED: u64 = 15;

/// Writes a row of each length into the folder of a model, if there are any.
pub(crate) fn write(
    lengths: &[i64],
    width: &[i64],
    folder: &Path,
    session: &mut Session,
) -> Result<()> {
    let mut random = Random::new(SEED);
    let mut all = Vec::new();
    for length in lengths {
        let width = [&[*length], &width[1..]].concat();
        let count: i64 = width.iter().product();
        let x: Vec<f32> = (0..count).map(|_| value(&mut random)).collect();
        let (shape, y) = raw::answer(session, &width, &x)?;
        let mut row = ModelRows::new(&width);
        row.push(x, &shape[1..], y);
        let (sample, answer) = row.stacked(0, 1);
        all.push(serde_json::json!({"sample": sample, "golden": answer}));
    }
    if !all.is_empty() {
        std::fs::write(folder.join(FILE), Value::from(all).to_string())?;
    }
    Ok(())
}

/// Reads the requests of one row of each length.
pub(crate) fn read(folder: &Path) -> Result<Vec<Input>> {
    let all: Vec<Value> = serde_json::from_slice(&std::fs::read(folder.join(FILE))?)?;
    let input = |mut one: Value| -> Result<Input> {
        Ok(Input {
            golden: Some(Golden::parse(one["golden"].to_string().as_bytes())?),
            sample: one["sample"].take(),
        })
    };
    all.into_iter().map(input).collect()
}
