//! The format of the label log: JSON lines in files that are named by the hour of acceptance. A line
//! holds a label, and its prediction once it is known. Files are written once and never changed.

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::ModelName;
use crate::observe::quality::answer::{Label, RowAnswer, Truth};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;

/// The folder of all labels.
pub const FOLDER: &str = "labels";

/// Writes the hour of a time as in the names of files.
pub fn hour(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H").to_string()
}

/// One label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelLine {
    /// Version of the format.
    pub format: u32,
    /// Id of the prediction.
    pub prediction_id: Uuid,
    /// Row of the prediction, from 0.
    pub row: u32,
    /// The label.
    pub label: Label,
    /// When the label was accepted.
    pub time: DateTime<Utc>,
    /// The prediction that the label belongs to, once it is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Joined>,
}

/// A version. The digest tells it apart from one of the same number whose files were replaced, and the
/// number from one with the same files.
pub(crate) type VersionKey = (ModelName, u64, Digest);

/// What was predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// Name of the model.
    pub model: String,
    /// Version of the model.
    pub version: u64,
    /// Digest of the version.
    pub digest: String,
    /// What was predicted.
    pub answer: RowAnswer,
    /// The true class or value.
    pub truth: GroundTruth,
    /// The part of each slice that the row belongs to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slices: BTreeMap<String, String>,
}

/// The true class or value, in the terms of the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroundTruth {
    /// Index of the class.
    Class(usize),
    /// The value.
    Value(f64),
}

impl From<Truth> for GroundTruth {
    fn from(truth: Truth) -> Self {
        match truth {
            Truth::Class(class) => Self::Class(class),
            Truth::Value(value) => Self::Value(value),
        }
    }
}

impl From<GroundTruth> for Truth {
    fn from(known: GroundTruth) -> Self {
        match known {
            GroundTruth::Class(class) => Self::Class(class),
            GroundTruth::Value(value) => Self::Value(value),
        }
    }
}

/// Reads the key of a version.
pub(crate) fn version_key(model: &str, version: u64, digest: &str) -> Result<VersionKey> {
    Ok((ModelName::parse(model)?, version, Digest::parse(digest)?))
}

impl Joined {
    /// Returns the version to whose labelled rows it belongs.
    pub(crate) fn key(&self) -> Result<VersionKey> {
        version_key(&self.model, self.version, &self.digest)
    }
}

/// Writes lines.
pub(crate) fn write(lines: &[LabelLine]) -> Bytes {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).expect("plain data is JSON");
        text.push(b'\n');
    }
    text.into()
}

/// Reads a file. Refuses a line that is damaged or of another format.
pub fn read(bytes: &[u8]) -> Result<Vec<LabelLine>> {
    #[derive(Deserialize)]
    struct LabelHead {
        format: u32,
    }
    let one = |(at, line): (usize, &[u8])| {
        let malformed = |e: serde_json::Error| {
            Error::precondition(format!("line {} of the labels: {e}", at + 1))
        };
        let head: LabelHead = serde_json::from_slice(line).map_err(malformed)?;
        if head.format != FORMAT {
            let format = head.format;
            return Err(Error::precondition(format!(
                "the label log is of format {format}; this version of Ortus reads format {FORMAT}"
            )));
        }
        serde_json::from_slice(line).map_err(malformed)
    };

    bytes
        .split(|b| *b == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(one)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in format 1. It is never edited.
    const GOLDEN: &str = include_str!("golden/labels-1.jsonl");

    #[test]
    fn the_golden_file_reads_and_writes_back_to_the_byte() {
        let lines = read(GOLDEN.as_bytes()).expect("reads");
        assert_eq!(lines.len(), 3);
        assert_eq!(write(&lines), GOLDEN.as_bytes());
        assert_eq!(
            lines[0].joined.as_ref().map(|j| j.truth),
            Some(GroundTruth::Class(1))
        );
        assert_eq!(
            (&lines[1].label, &lines[2].joined),
            (&Label::Number(2.5), &None)
        );
    }

    #[test]
    fn damaged_and_future_files_are_refused() {
        let refused = |text: &str, part: &str| {
            let error = read(text.as_bytes()).expect_err("must be refused");
            assert!(
                error.message.contains(part),
                "{error} does not say {part:?}"
            );
        };

        refused(&GOLDEN.replace("\"format\":1", "\"format\":2"), "format 2");
        refused(&GOLDEN[..GOLDEN.len() / 2], "line");
        refused(
            &GOLDEN.replacen("\"row\":0", "\"row\":0,\"else\":1", 1),
            "else",
        );
    }
}
