//! A row of the data as arguments of `ortus predict`, so that a published version can be tried at once.

#[cfg(test)]
mod tests;

use crate::frame::{Frame, FrameValues};
use crate::judge::OpenModel;
use ortus::core::error::Result;
use ortus::core::tensor::{DType, Data, Tensor};

/// Rows of which the first that has all values is taken.
const LOOK_ROWS: u32 = 100;
/// Most bytes of the arguments; a longer example helps nobody.
const BYTES_MAX: usize = 2_000;

/// Returns a row as `--input` arguments. None if it is too long, or if a name has a colon, which the
/// arguments cannot hold.
pub(crate) fn arguments(predictor: &mut OpenModel, frame: &Frame) -> Result<Option<String>> {
    let rows = (0..LOOK_ROWS).take(frame.rows);
    let is_whole = |row: &u32| frame.columns.iter().all(|c| has_value(&c.values, *row));
    let Some(row) = rows.clone().find(is_whole).or(rows.clone().next()) else {
        return Ok(None);
    };
    let mut tensors = Vec::new();
    predictor.predict(&frame.take(&[row]), &mut |inputs, _, _| {
        tensors = inputs.to_vec();
    })?;
    let inputs = predictor.signature.inputs.iter().zip(&tensors);
    let one = |(spec, tensor): (&ortus::core::model::TensorSpec, &Tensor)| {
        (!spec.name.contains(':')).then(|| argument(&spec.name, tensor))
    };
    let all: Option<Vec<String>> = inputs.map(one).collect();
    let text = all.map(|all| all.join(" "));
    Ok(text.filter(|text| text.len() <= BYTES_MAX))
}

fn has_value(values: &FrameValues, row: u32) -> bool {
    match values {
        FrameValues::Numbers(all) => all[row as usize].is_finite(),
        FrameValues::Words(words) => words.get(row as usize).is_some(),
    }
}

fn argument(name: &str, tensor: &Tensor) -> String {
    let shape: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    let text = format!(
        "{name}:{}:{}:{}",
        tensor.dtype().name(),
        shape.join(","),
        values(tensor).join(",")
    );
    format!("--input {}", quoted(&text))
}

fn values(tensor: &Tensor) -> Vec<String> {
    if let Data::Strings(strings) = tensor.data() {
        return strings.words().map(word).collect();
    }
    let raw = tensor.to_raw();
    match tensor.dtype() {
        DType::F32 => numbers(&raw, f32::from_le_bytes),
        DType::F64 => numbers(&raw, f64::from_le_bytes),
        DType::I32 => numbers(&raw, i32::from_le_bytes),
        DType::I64 => numbers(&raw, i64::from_le_bytes),
        _ => raw.iter().map(|byte| (*byte != 0).to_string()).collect(),
    }
}

fn numbers<const N: usize, T: ToString>(raw: &[u8], of: fn([u8; N]) -> T) -> Vec<String> {
    let (all, _) = raw.as_chunks::<N>();
    all.iter().map(|bytes| of(*bytes).to_string()).collect()
}

/// Writes a word as `ortus predict` reads it: in quotes if it has a comma or begins with a quote.
fn word(word: &str) -> String {
    if word.contains(',') || word.starts_with('"') {
        format!("\"{}\"", word.replace('"', "\"\""))
    } else {
        word.to_owned()
    }
}

/// Quotes an argument for a shell, if it must be.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-.:,/@+%".contains(c);
    if text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
