//! Rows of a model's input with their answers, kept beside the model.

use crate::Result;
use crate::golden::Golden;
use crate::requests::Input;
use serde_json::{Value, json};
use std::path::Path;

const FILE: &str = "rows.json";

/// Rows of one FP32 input `x` and one FP32 output `y`.
#[derive(Debug, PartialEq)]
pub(crate) struct ModelRows {
    x_width: Vec<i64>,
    y_width: Vec<i64>,
    x: Vec<Vec<f32>>,
    y: Vec<Vec<f32>>,
}

impl ModelRows {
    pub(crate) fn new(width: &[i64]) -> Self {
        Self {
            x_width: width.to_vec(),
            y_width: Vec::new(),
            x: Vec::new(),
            y: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, x: Vec<f32>, y_width: &[i64], y: Vec<f32>) {
        self.y_width = y_width.to_vec();
        self.x.push(x);
        self.y.push(y);
    }

    /// Writes them into the folder of a model, with a sample and a golden answer
    /// of one row.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> Result<()> {
        let all =
            json!({"x_width": self.x_width, "y_width": self.y_width, "x": self.x, "y": self.y});
        std::fs::write(folder.join(FILE), all.to_string())?;
        let (sample, answer) = self.stacked(0, 1);
        std::fs::write(folder.join("sample.json"), format!("{sample}\n"))?;
        let mut golden = json!({"model_name": name, "model_version": "1"});
        golden["outputs"] = answer["outputs"].clone();
        std::fs::write(folder.join("golden.json"), format!("{golden}\n"))?;
        Ok(())
    }

    /// Reads what was written into the folder of a model.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let all: Value = serde_json::from_slice(&std::fs::read(folder.join(FILE))?)?;
        let widths = |key: &str| -> Vec<i64> {
            let values = all[key].as_array().into_iter().flatten();
            values.filter_map(Value::as_i64).collect()
        };
        let rows = |key: &str| -> Vec<Vec<f32>> {
            let row = |row: &Value| {
                let values = row.as_array().into_iter().flatten();
                values.filter_map(Value::as_f64).map(|v| v as f32).collect()
            };
            all[key].as_array().into_iter().flatten().map(row).collect()
        };
        let read = Self {
            x_width: widths("x_width"),
            y_width: widths("y_width"),
            x: rows("x"),
            y: rows("y"),
        };
        match read.x.is_empty() || read.x.len() != read.y.len() {
            true => Err(format!("{} holds no rows", folder.join(FILE).display()).into()),
            false => Ok(read),
        }
    }

    /// A request of `count` rows from row `first` on, and its answer.
    pub(super) fn stacked(&self, first: usize, count: usize) -> (Value, Value) {
        let tensor = |name: &str, width: &[i64], rows: &[Vec<f32>]| {
            let chosen = (first..first + count).flat_map(|at| &rows[at % rows.len()]);
            let values: Vec<f64> = chosen.map(|v| shortest(*v)).collect();
            let shape = [&[count as i64], width].concat();
            json!({"name": name, "shape": shape, "datatype": "FP32", "data": values})
        };
        let sample = json!({"inputs": [tensor("x", &self.x_width, &self.x)]});
        (
            sample,
            json!({"outputs": [tensor("y", &self.y_width, &self.y)]}),
        )
    }

    /// A request of so many rows from every row on, each with its answer.
    pub(crate) fn inputs(&self, count: usize) -> Result<Vec<Input>> {
        let input = |first| {
            let (sample, answer) = self.stacked(first, count);
            Ok(Input {
                sample,
                golden: Some(Golden::parse(answer.to_string().as_bytes())?),
            })
        };
        (0..self.x.len()).map(input).collect()
    }
}

/// The number with the fewest digits that is the same FP32: as JSON it is as short
/// as a client would write it.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> ModelRows {
        let mut rows = ModelRows::new(&[2]);
        rows.push(vec![0.1, 0.2], &[1], vec![1.5]);
        rows.push(vec![0.3, 0.4], &[1], vec![2.5]);
        rows
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        rows().write(folder.path(), "m").unwrap();
        assert_eq!(ModelRows::read(folder.path()).unwrap(), rows());
        assert!(ModelRows::read(&folder.path().join("none")).is_err());
    }

    #[test]
    fn stacked_rows_have_stacked_answers() {
        let (sample, answer) = rows().stacked(1, 3);
        assert_eq!(sample["inputs"][0]["shape"], json!([3, 2]));
        assert_eq!(
            sample["inputs"][0]["data"],
            json!([0.3, 0.4, 0.1, 0.2, 0.3, 0.4])
        );
        assert_eq!(answer["outputs"][0]["data"], json!([2.5, 1.5, 2.5]));
    }
}
