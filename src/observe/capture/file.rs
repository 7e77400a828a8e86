//! Capture files: their names, their metadata, and how requests are read back from them.

use super::sheet::{ColumnForm, OWN, Sheet};
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::core::model::task::{Classification, Task};
use crate::core::tensor::{DType, Tensor};
use crate::observe::drift::watch::WatchSubject;
use crate::storage::table::columnar::{self, Notes};
use crate::storage::table::{Column, Table};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use uuid::Uuid;

/// The format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;
/// The folder of all captured files.
pub(crate) const FOLDER: &str = "capture";
/// Most bytes of a file that is read.
pub const FILE_BYTES_MAX: u64 = 4 << 30;

/// The metadata of a capture file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureHead {
    /// Version of the format.
    pub format: u32,
    /// Name of the model.
    pub model: String,
    /// Version of the model.
    pub version: u64,
    /// Digest of the version's manifest or file.
    pub digest: String,
    /// How tensors lie in columns.
    pub sheet: Sheet,
    /// Task of the model, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskNote>,
}

/// A task, in the form of files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskNote {
    /// Index of the output with the scores, whether it holds a single score for two classes, index
    /// of the output with the class, and the classes.
    Classification(usize, bool, Option<usize>, Vec<String>),
    /// Index of the output that holds the value.
    Regression(usize),
}

impl TaskNote {
    pub(crate) fn of(task: &Task) -> Self {
        match task {
            Task::Regression(at) => Self::Regression(*at),
            Task::Classification(c) => {
                Self::Classification(c.scores, c.is_single, c.label, c.classes.clone())
            }
        }
    }

    /// Returns the task.
    pub(crate) fn task(&self) -> Task {
        match self {
            Self::Regression(at) => Task::Regression(*at),
            Self::Classification(scores, is_single, label, classes) => {
                Task::Classification(Classification {
                    scores: *scores,
                    is_single: *is_single,
                    label: *label,
                    classes: classes.clone(),
                })
            }
        }
    }
}

impl CaptureHead {
    /// Describes the files of a version.
    pub(super) fn of(subject: &WatchSubject, sheet: Sheet) -> Self {
        Self {
            format: FORMAT,
            model: subject.model.to_string(),
            version: subject.version.number(),
            digest: subject.digest.to_string(),
            sheet,
            task: subject.task.as_ref().map(TaskNote::of),
        }
    }

    /// Names a file, in folders by model, version and hour, as tools that read folders of Parquet
    /// files expect.
    pub(super) fn key(&self, hour: u64) -> String {
        let Self { model, version, .. } = self;
        format!(
            "{}{}.parquet",
            folder(model, Some((*version, hour))),
            Uuid::now_v7()
        )
    }

    /// Writes a file.
    pub(super) fn write(&self, table: &Table) -> Result<Vec<u8>> {
        let note = serde_json::to_string(self).expect("plain data is JSON");
        let mut notes = Notes::from([("ortus.capture".to_owned(), note)]);
        notes.insert("ortus.model".to_owned(), self.model.clone());
        columnar::write(table, &notes)
    }
}

/// Names the folder of a model's files, or of one version and hour.
pub(crate) fn folder(model: &str, of: Option<(u64, u64)>) -> String {
    match of {
        None => format!("{FOLDER}/model={model}/"),
        Some((version, hour)) => format!(
            "{FOLDER}/model={model}/version={version}/hour={}/",
            name(hour)
        ),
    }
}

/// Writes an hour since 1970 as in the names of folders.
pub(crate) fn name(hour: u64) -> String {
    let seconds = i64::try_from(hour.saturating_mul(3600)).unwrap_or(i64::MAX);
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(String::new, |t| t.format("%Y-%m-%dT%H").to_string())
}

/// Returns the value of a part of a key, such as `hour=…`.
pub(crate) fn part<'k>(key: &'k str, name: &str) -> Option<&'k str> {
    key.split('/')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// A capture file.
pub struct Captured {
    /// Its metadata.
    pub head: CaptureHead,
    /// The captured rows.
    pub table: Table,
}

/// A captured request.
#[derive(Clone, Debug, PartialEq)]
pub struct CapturedRequest {
    /// Id of the prediction.
    pub prediction: Uuid,
    /// When it was made.
    pub time: DateTime<Utc>,
    /// Its rows within the file.
    pub rows: Range<usize>,
}

impl Captured {
    /// Reads a file. Refuses one that is not a capture file, or of another format.
    pub fn read(bytes: Bytes) -> Result<Self> {
        #[derive(Deserialize)]
        struct FormatMark {
            format: u32,
        }
        let (mut table, notes) = columnar::read(bytes)?;
        let note = notes.get("ortus.capture").ok_or_else(|| {
            Error::precondition("the file is not a capture file: it has no capture metadata")
        })?;
        let malformed = |e: serde_json::Error| {
            Error::precondition(format!(
                "the metadata of the capture file is malformed: {e}"
            ))
        };
        let FormatMark { format } = serde_json::from_str(note).map_err(malformed)?;
        if format != FORMAT {
            return Err(Error::precondition(format!(
                "the capture file is of format {format}; this version of Ortus reads format {FORMAT}"
            )));
        }

        let head: CaptureHead = serde_json::from_str(note).map_err(malformed)?;
        ModelName::parse(&head.model)?;
        make_unsigned(&head.sheet, &mut table);
        Ok(Self { head, table })
    }

    /// Returns the requests in order. Consecutive rows of one prediction form a request.
    pub fn requests(&self) -> Result<Vec<CapturedRequest>> {
        let damaged =
            || Error::precondition("the file lacks the columns that every capture file has");
        let Some(Column::Words(ids)) = self.table.column(OWN[0]) else {
            return Err(damaged());
        };

        let Some(Column::Time(times)) = self.table.column(OWN[2]) else {
            return Err(damaged());
        };
        let mut requests = Vec::new();
        let mut at = 0;
        for rows in ids.chunk_by(|a, b| a == b) {
            let prediction = Uuid::parse_str(&rows[0]).map_err(|_| damaged())?;
            let time = times
                .get(at)
                .and_then(|us| DateTime::from_timestamp_micros(*us))
                .ok_or_else(damaged)?;
            requests.push(CapturedRequest {
                prediction,
                time,
                rows: at..at + rows.len(),
            });
            at += rows.len();
        }

        Ok(requests)
    }

    /// Returns the inputs of a request.
    pub(crate) fn inputs(&self, request: &CapturedRequest) -> Result<Vec<(String, Tensor)>> {
        self.head
            .sheet
            .tensors(&self.table, request.rows.clone(), true)
    }

    /// Returns the outputs of a request.
    pub(crate) fn outputs(&self, request: &CapturedRequest) -> Result<Vec<(String, Tensor)>> {
        self.head
            .sheet
            .tensors(&self.table, request.rows.clone(), false)
    }
}

/// Converts the columns of unsigned tensors: older files hold the same bits as signed numbers.
fn make_unsigned(sheet: &Sheet, table: &mut Table) {
    for spread in sheet
        .tensors
        .iter()
        .filter(|t| t.datatype == DType::U64.name())
    {
        let ColumnForm::Columns(_, kept) = &spread.form else {
            continue;
        };
        for (name, column) in &mut table.columns {
            if let Column::I64(values) = column
                && kept.iter().any(|k| k.column == *name)
            {
                *column = Column::U64(values.iter().map(|v| v.cast_unsigned()).collect());
            }
        }
    }
}
