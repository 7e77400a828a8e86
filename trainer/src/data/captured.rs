//! Captured predictions as a data source: predictions of a model joined with
//! their labels, one row for each prediction that has a label.

use super::super::spec::capture_source::CaptureSource;
use super::manifest::SourceFile;
use super::staged::{OriginalFiles, Staged};
use chrono::{DateTime, Utc};
use futures_util::stream::TryStreamExt;
use ortus::core::count::counted;
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::observe::capture::file::{Captured, FILE_BYTES_MAX};
use ortus::observe::capture::replay::Window;
use ortus::observe::capture::sheet::{ColumnForm, OWN};
use ortus::observe::labels::line::{self, FOLDER as LABELS, LabelLine};
use ortus::observe::quality::answer::Label;
use ortus::storage::layout::Records;
use ortus::storage::table::columnar::{self, Notes};
use ortus::storage::table::{Column, Table};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The largest file of labels.
const LABELS_BYTES_MAX: u64 = 1 << 30;
/// The most captured files.
const FILES_MAX: usize = 100_000;
/// Rows at which a file is closed.
const PART_ROWS: usize = 250_000;
/// The columns that are added to those of a captured file.
const ADDED: [&str; 3] = ["truth", "truth_time", "version"];

/// Joins captured predictions with the labels known at a time, as files in a folder. Refuses
/// files of more than `bytes_max` together.
pub(super) async fn stage(
    source: &CaptureSource,
    records: &Records,
    as_of: DateTime<Utc>,
    into: &Path,
    bytes_max: u64,
) -> Result<Staged> {
    let from = as_of - source.back;
    let mut labels = Labels::read(records, from, as_of, bytes_max).await?;
    let window = Window {
        model: source.model.clone(),
        version: None,
        from,
        to: as_of,
    };

    let mut keys = window.files(records).await?;
    keys.retain(|key| is_older(key, as_of));
    if keys.len() > FILES_MAX {
        return Err(Error::overloaded(format!(
            "there are over {FILES_MAX} captured files; reduce 'days' of the source"
        )));
    }

    // The newest file decides the columns, because the inputs of a model may change. File names hold the time.
    keys.sort_by(|a, b| file_name(b).cmp(file_name(a)));
    let (mut columns, mut others, mut bytes_read) = (None, 0, 0);
    let mut beside = Vec::new();
    let (mut files, mut tables) = (Vec::new(), Vec::new());
    for key in keys {
        let Some(bytes) = records.get(&key, FILE_BYTES_MAX).await? else {
            continue;
        };
        bytes_read += bytes.len() as u64;
        if bytes_read > bytes_max {
            return Err(Error::too_large(format!(
                "the captured files exceed {bytes_max} bytes, 'staged_max' in [data]"
            )));
        }
        let (digest, length) = (Digest::of(&bytes), bytes.len() as u64);
        let captured = Captured::read(bytes).map_err(|e| e.context(&key))?;
        let names: Vec<String> = captured.table.names().map(str::to_owned).collect();
        if *columns.get_or_insert_with(|| names.clone()) != names {
            others += 1;
            continue;
        }
        let joined = join(&captured, &mut labels, from, as_of)?;
        beside = beside_inputs(&captured, &joined);
        if joined.rows > 0 {
            files.push(SourceFile {
                path: key,
                digest,
                bytes: length,
            });
            tables.push(joined);
        }
    }

    if tables.is_empty() {
        return Err(Error::not_found(format!(
            "no captured prediction of '{}' since {} has a label yet",
            source.model,
            from.format("%Y-%m-%d %H:%M")
        )));
    }

    files.extend(labels.used());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    tables.reverse();
    let (paths, rows_digest) = write(tables, into)?;
    Ok(Staged {
        tables: paths,
        files: OriginalFiles::Known(files),
        rows_digest: Some(rows_digest),
        notes: note_of_others(others).into_iter().collect(),
        captured: beside,
        stamps: Vec::new(),
    })
}

/// Says how many captured files have other columns than the newest.
fn note_of_others(files: usize) -> Option<String> {
    (files > 0).then(|| {
        format!(
            "not used, for other columns than the newest file has: {}",
            counted(files, "captured file")
        )
    })
}

/// Returns the columns of a joined table that are no inputs of the model: its outputs, and those that
/// keep the books. A model that learned from them would read its own answers.
fn beside_inputs(captured: &Captured, joined: &Table) -> Vec<String> {
    let outputs = captured.head.sheet.tensors.iter().filter(|t| !t.input);
    let mut names: Vec<String> = OWN.map(str::to_owned).to_vec();
    for output in outputs {
        match &output.form {
            ColumnForm::Columns(_, kept) => {
                names.extend(kept.iter().map(|kept| kept.column.clone()));
            }
            ColumnForm::Whole(kept) => {
                names.push(kept.column.clone());
                names.push(format!("{}.shape", kept.column));
            }
        }
    }
    let added = joined.columns.len().saturating_sub(ADDED.len());
    names.extend(joined.names().skip(added).map(str::to_owned));
    names
}

/// Writes tables into few files; returns their paths and the digest of their rows.
fn write(mut tables: Vec<Table>, into: &Path) -> Result<(Vec<PathBuf>, Digest)> {
    // Labels that are numbers in one file and text in another are text.
    if tables
        .iter_mut()
        .any(|t| matches!(label_column(t), Some(Column::Words(_))))
    {
        tables.iter_mut().for_each(labels_as_text);
    }

    let (mut paths, mut digests) = (Vec::new(), String::new());
    let mut tables = tables.into_iter();
    let mut next = tables.next();
    while let Some(mut part) = next.take() {
        for table in tables.by_ref() {
            if part.rows >= PART_ROWS || !part.append(&table) {
                next = Some(table);
                break;
            }
        }
        let path = into.join(format!("{:05}.parquet", paths.len()));
        let failed = |e| Error::unavailable(format!("write {}", path.display())).with_source(e);
        let bytes = columnar::write(&part, &Notes::new())?;
        std::fs::write(&path, &bytes).map_err(failed)?;
        digests.push_str(&Digest::of(&bytes).to_string());
        paths.push(path);
    }

    Ok((paths, Digest::of(digests.as_bytes())))
}

fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}

/// Returns whether a file was written by a time, which its name holds.
fn is_older(key: &str, as_of: DateTime<Utc>) -> bool {
    let name = key
        .rsplit('/')
        .next()
        .and_then(|name| name.split('.').next())
        .unwrap_or_default();
    let id = Uuid::parse_str(name).ok().and_then(|id| id.get_timestamp());

    id.is_none_or(|stamp| {
        let (seconds, nanos) = stamp.to_unix();
        (seconds.cast_signed(), nanos / 1_000_000)
            <= (as_of.timestamp(), as_of.timestamp_subsec_millis())
    })
}

/// The label of each row; the last one, if there are several.
struct Labels {
    of: HashMap<(Uuid, u32), TakenLabel>,
    files: Vec<(SourceFile, bool)>,
}

struct TakenLabel {
    label: Label,
    time: DateTime<Utc>,
    /// The index of its file.
    file: usize,
}

impl Labels {
    async fn read(
        records: &Records,
        from: DateTime<Utc>,
        as_of: DateTime<Utc>,
        bytes_max: u64,
    ) -> Result<Self> {
        let listed: Vec<(String, _)> = records.list(LABELS).try_collect().await?;
        let oldest = line::hour(from);
        let hour = |key: &str| key.split('/').nth(1).unwrap_or_default() >= oldest.as_str();
        let is_wanted = |key: &String| key.ends_with(".jsonl") && hour(key) && is_older(key, as_of);
        let mut keys: Vec<String> = listed
            .into_iter()
            .map(|(key, _)| key)
            .filter(is_wanted)
            .collect();
        keys.sort();

        let (mut labels, mut bytes_read) = (
            Self {
                of: HashMap::new(),
                files: Vec::new(),
            },
            0,
        );

        for key in keys {
            let Some(bytes) = records.get(&key, LABELS_BYTES_MAX).await? else {
                continue;
            };
            bytes_read += bytes.len() as u64;
            if bytes_read > bytes_max {
                return Err(Error::too_large(format!(
                    "the labels exceed {bytes_max} bytes, 'staged_max' in [data]"
                )));
            }
            let lines = line::read(&bytes).map_err(|e| e.context(&key))?;
            let file = labels.files.len();
            labels.files.push((
                SourceFile {
                    path: key,
                    digest: Digest::of(&bytes),
                    bytes: bytes.len() as u64,
                },
                false,
            ));
            for LabelLine {
                prediction_id,
                row,
                label,
                time,
                ..
            } in lines.into_iter().filter(|l| l.time <= as_of)
            {
                let known = labels.of.get(&(prediction_id, row));
                if known.is_none_or(|known| known.time <= time) {
                    labels
                        .of
                        .insert((prediction_id, row), TakenLabel { label, time, file });
                }
            }
        }

        Ok(labels)
    }

    /// Returns the label of a row, and marks its file as used.
    fn take(&mut self, prediction: Uuid, row: u32) -> Option<(Label, DateTime<Utc>)> {
        let taken = self.of.get(&(prediction, row))?;
        self.files[taken.file].1 = true;
        Some((taken.label.clone(), taken.time))
    }

    fn used(self) -> impl Iterator<Item = SourceFile> {
        self.files
            .into_iter()
            .filter(|(_, is_used)| *is_used)
            .map(|(file, _)| file)
    }
}

/// Returns the label column of a joined table, the first of the added ones.
fn label_column(table: &mut Table) -> Option<&mut Column> {
    let at = table.columns.len().checked_sub(ADDED.len())?;
    Some(&mut table.columns[at].1)
}

/// Returns the rows of a captured file that have a label, with it.
fn join(
    captured: &Captured,
    labels: &mut Labels,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Table> {
    let damaged = || Error::precondition("a captured file lacks required columns; it is damaged");
    let Some(Column::I32(numbers)) = captured.table.column(OWN[1]) else {
        return Err(damaged());
    };
    let (mut rows, mut truths, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for request in captured
        .requests()?
        .into_iter()
        .filter(|r| from <= r.time && r.time < to)
    {
        for row in request.rows {
            let number = numbers
                .get(row)
                .and_then(|n| u32::try_from(*n).ok())
                .ok_or_else(damaged)?;
            if let Some((label, time)) = labels.take(request.prediction, number) {
                rows.push(row);
                truths.push(label);
                times.push(time.timestamp_micros());
            }
        }
    }

    let mut table = captured.table.take(&rows);
    let numbers = truths.iter().map(|label| {
        if let Label::Number(value) = label {
            Some(*value)
        } else {
            None
        }
    });

    let truth = match numbers.collect::<Option<Vec<f64>>>() {
        Some(numbers) => Column::F64(numbers),
        None => Column::Words(truths.iter().map(word).collect()),
    };
    let version = i64::try_from(captured.head.version).unwrap_or(i64::MAX);
    let added = [
        truth,
        Column::Time(times),
        Column::I64(vec![version; rows.len()]),
    ];

    let taken: Vec<String> = table.names().map(str::to_owned).collect();
    for (name, column) in ADDED.into_iter().zip(added) {
        let free = if taken.iter().any(|t| t == name) {
            format!("ortus.{name}")
        } else {
            name.to_owned()
        };
        table.columns.push((free, column));
    }

    Ok(table)
}

fn word(label: &Label) -> String {
    match label {
        Label::Number(value) => value.to_string(),
        Label::Word(word) => word.clone(),
    }
}

fn labels_as_text(table: &mut Table) {
    if let Some(column) = label_column(table)
        && let Column::F64(numbers) = column
    {
        *column = Column::Words(numbers.iter().map(ToString::to_string).collect());
    }
}
