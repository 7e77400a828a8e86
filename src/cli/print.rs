//! Output for people: tables and lines on stdout, notes on stderr.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use crate::client::InferAnswer;
use crate::core::error::{Error, Result};
use crate::core::tensor::Tensor;
use comfy_table::presets;
use http::HeaderMap;
use std::io::Write;

/// Prints a line to stdout. A closed pipe is not an error.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a line to stderr.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A number with three significant digits.
pub(super) fn figures(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// A table without borders.
pub struct TextTable(comfy_table::Table);

impl TextTable {
    /// Starts with headings.
    pub fn new(headings: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(headings.iter().map(|h| h.to_uppercase()));
        Self(table)
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[&str]) {
        self.0.add_row(cells.iter().map(|c| (*c).to_owned()));
    }

    /// Prints the table.
    pub fn print(&self) {
        self.lines().iter().for_each(|text| line(text));
    }

    /// Returns the lines of the table.
    pub(super) fn lines(&self) -> Vec<String> {
        let cut = |text: String| text.trim_end().to_owned();
        self.0.lines().map(cut).collect()
    }
}

/// Words of numbers that JSON does not have.
const NUMBERS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Puts the words of numbers in quotes, so that the text is JSON.
fn quoted(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let (mut rest, mut is_string) = (text, false);
    while let Some(first) = rest.chars().next() {
        let word = NUMBERS.iter().find(|word| rest.starts_with(**word));
        let length = match word.filter(|_| !is_string) {
            Some(word) => {
                made.push_str(&format!("\"{word}\""));
                word.len()
            }
            None if is_string && first == '\\' => {
                let escape = rest.chars().take(2).map(char::len_utf8).sum();
                made.push_str(&rest[..escape]);
                escape
            }
            None => {
                is_string ^= first == '"';
                made.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    made
}

/// Prints a response that was received over HTTP.
pub(super) fn answer(headers: &HeaderMap, body: &[u8], json: bool) -> Result<()> {
    let text = String::from_utf8_lossy(body);
    if json {
        line(&text);
        return Ok(());
    }
    #[derive(serde::Deserialize)]
    struct PrintedOutput<'a> {
        name: String,
        datatype: String,
        shape: Vec<i64>,
        #[serde(borrow)]
        data: Option<&'a serde_json::value::RawValue>,
    }

    #[derive(serde::Deserialize)]
    struct PredictBody<'a> {
        #[serde(borrow)]
        outputs: Vec<PrintedOutput<'a>>,
    }

    let quoted = quoted(&text);
    let body: PredictBody<'_> = serde_json::from_str(&quoted).map_err(|e| {
        Error::internal("the server's response is not JSON of the Open Inference Protocol")
            .with_source(e)
    })?;
    let header = |name| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("?")
            .to_owned()
    };

    line(&format!(
        "version {}  prediction {}",
        header("ortus-model-version"),
        header("ortus-prediction-id")
    ));

    let mut table = TextTable::new(&["output", "datatype", "shape", "data"]);
    for o in &body.outputs {
        let data = o.data.map_or("", |d| d.get());
        table.row(&[
            &o.name,
            &o.datatype,
            &format!("{:?}", o.shape),
            &shorten(data),
        ]);
    }

    table.print();
    Ok(())
}

/// Prints a response that was received over gRPC.
pub(super) fn grpc_answer(answer: &InferAnswer, json: bool) -> Result<()> {
    let data = |tensor: &Tensor| {
        let mut text = Vec::new();
        crate::core::tensor::json::write_elements(&mut text, tensor, false);
        String::from_utf8_lossy(&text).into_owned()
    };

    if json {
        let outputs: Vec<String> = answer
            .outputs
            .iter()
            .map(|(name, t)| {
                let (name, datatype) = (serde_json::Value::from(name.as_str()), t.dtype().name());
                format!(
                    r#"{{"name":{name},"datatype":"{datatype}","shape":{:?},"data":{}}}"#,
                    t.shape(),
                    data(t)
                )
            })
            .collect();
        line(&format!(
            r#"{{"model_version":"{}","outputs":[{}]}}"#,
            answer.version,
            outputs.join(",")
        ));
        return Ok(());
    }

    line(&format!(
        "version {}  prediction {}",
        answer.version, answer.prediction_id
    ));
    let mut table = TextTable::new(&["output", "datatype", "shape", "data"]);
    for (name, t) in &answer.outputs {
        table.row(&[
            name,
            t.dtype().name(),
            &format!("{:?}", t.shape()),
            &shorten(&data(t)),
        ]);
    }

    table.print();
    Ok(())
}

fn shorten(text: &str) -> String {
    const MAX: usize = 200;
    if text.len() <= MAX {
        text.to_owned()
    } else {
        format!("{}…", &text[..text.floor_char_boundary(MAX)])
    }
}
