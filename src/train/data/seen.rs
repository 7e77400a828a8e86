//! What servers were asked, joined with what turned out to be true: captured
//! predictions of a model and their labels, a row for each that has one.

use super::source::SourceFile;
use super::staged::Staged;
use crate::capture::file::{Captured, FILE_BYTES_MAX};
use crate::capture::replay::Window;
use crate::capture::sheet::OWN;
use crate::error::{Error, Result};
use crate::feedback::line::{self, FOLDER as LABELS, Line};
use crate::model::{ModelName, short};
use crate::monitor::performance::answer::Label;
use crate::records::Records;
use crate::registry::entry::hash;
use crate::table::columnar::{self, Notes};
use crate::table::{Column, Table};
use chrono::{DateTime, Utc};
use futures_util::stream::TryStreamExt;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// What a source of this kind begins with.
const SCHEME: &str = "capture:";
/// How far back it looks where nobody says.
const DAYS: u64 = 30;
/// The largest file of labels.
const LABELS_BYTES_MAX: u64 = 1 << 30;
/// What is added to the columns of a captured file.
const ADDED: [&str; 3] = ["truth", "truth_time", "version"];

/// Which predictions: `capture:MODEL` or `capture:MODEL?days=N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub model: ModelName,
    pub back: Duration,
}

impl Seen {
    /// Reads an address; none of another kind. Refuses a malformed one.
    pub(crate) fn parse(at: &str) -> Result<Option<Self>> {
        let Some(rest) = at.strip_prefix(SCHEME) else { return Ok(None) };
        let (model, asked) = rest.split_once('?').unwrap_or((rest, ""));
        let days = match asked.split_once('=') {
            None if asked.is_empty() => Some(DAYS),
            Some(("days", days)) => days.parse().ok().filter(|days| (1..=3_650).contains(days)),
            _ => None,
        };
        let days = days.ok_or_else(|| {
            Error::invalid(format!("'{}' is not understood; write capture:MODEL?days=30, 1 to 3650 days", short(at)))
        })?;
        Ok(Some(Self { model: ModelName::parse(model)?, back: Duration::from_secs(days * 86_400) }))
    }

    /// Joins what was known at a time, and leaves it as files in a folder.
    pub(super) async fn stage(&self, records: &Records, as_of: DateTime<Utc>, into: &Path) -> Result<Staged> {
        let from = as_of - self.back;
        let mut files = Vec::new();
        let labels = labels(records, (from, as_of), &mut files).await?;
        let window = Window { model: self.model.clone(), version: None, from, to: as_of };
        let mut tables = Vec::new();
        // The newest file says which columns there are: a model whose inputs changed is another.
        let keys: Vec<String> = window.files(records).await?.into_iter().filter(|key| is_older(key, as_of)).collect();
        let mut columns: Option<Vec<String>> = None;
        for key in keys.into_iter().rev() {
            let Some(bytes) = records.get(&key, FILE_BYTES_MAX).await? else { continue };
            let (digest, length) = (hash(&bytes), bytes.len() as u64);
            let captured = Captured::read(bytes).map_err(|e| e.context(&key))?;
            let names: Vec<String> = captured.table.names().map(str::to_owned).collect();
            if *columns.get_or_insert_with(|| names.clone()) != names {
                continue;
            }
            let joined = join(&captured, &labels, (from, as_of))?;
            files.push(SourceFile { path: key, digest, bytes: length });
            if joined.rows > 0 {
                tables.push(joined);
            }
        }
        if tables.is_empty() {
            return Err(Error::not_found(format!(
                "no captured prediction of '{}' since {} has a label yet",
                self.model,
                from.format("%Y-%m-%d %H:%M")
            )));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        tables.reverse();
        let is_words = tables.iter_mut().any(|t| matches!(truth(t), Some(Column::Words(_))));
        let mut paths = Vec::new();
        for (at, mut table) in tables.into_iter().enumerate() {
            if is_words {
                in_words(&mut table);
            }
            let path = into.join(format!("{at:05}.parquet"));
            let failed = |e| Error::unavailable(format!("write {}", path.display())).with_source(e);
            std::fs::write(&path, columnar::write(&table, &Notes::new())?).map_err(failed)?;
            paths.push(path);
        }
        Ok(Staged { tables: paths, files })
    }
}

/// Whether a file was named by then: names tell when.
fn is_older(key: &str, as_of: DateTime<Utc>) -> bool {
    let name = key.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or_default();
    let id = Uuid::parse_str(name).ok().and_then(|id| id.get_timestamp());
    id.is_none_or(|stamp| {
        let (seconds, nanos) = stamp.to_unix();
        (seconds.cast_signed(), nanos / 1_000_000) <= (as_of.timestamp(), as_of.timestamp_subsec_millis())
    })
}

type Labels = HashMap<(Uuid, u32), (Label, DateTime<Utc>)>;

/// The label of each row; of several the one taken last.
async fn labels(
    records: &Records,
    (from, as_of): (DateTime<Utc>, DateTime<Utc>),
    files: &mut Vec<SourceFile>,
) -> Result<Labels> {
    let listed: Vec<(String, _)> = records.list(LABELS).try_collect().await?;
    let oldest = line::hour(from);
    let hour = |key: &str| key.split('/').nth(1).unwrap_or_default() >= oldest.as_str();
    let mut keys: Vec<String> = listed.into_iter().map(|(key, _)| key).filter(|key| key.ends_with(".jsonl")).collect();
    keys.retain(|key| hour(key) && is_older(key, as_of));
    keys.sort();
    let mut labels = Labels::new();
    for key in keys {
        let Some(bytes) = records.get(&key, LABELS_BYTES_MAX).await? else { continue };
        let lines = line::read(&bytes).map_err(|e| e.context(&key))?;
        files.push(SourceFile { path: key, digest: hash(&bytes), bytes: bytes.len() as u64 });
        for Line { prediction_id, row, label, time, .. } in lines.into_iter().filter(|l| l.time <= as_of) {
            match labels.entry((prediction_id, row)) {
                std::collections::hash_map::Entry::Occupied(known) if known.get().1 > time => {}
                std::collections::hash_map::Entry::Occupied(mut known) => drop(known.insert((label, time))),
                std::collections::hash_map::Entry::Vacant(free) => drop(free.insert((label, time))),
            }
        }
    }
    Ok(labels)
}

/// The truth of a joined table, which is the first of what was added.
fn truth(table: &mut Table) -> Option<&mut Column> {
    let at = table.columns.len().checked_sub(ADDED.len())?;
    Some(&mut table.columns[at].1)
}

/// The rows of a file that have a label, with it.
fn join(captured: &Captured, labels: &Labels, (from, to): (DateTime<Utc>, DateTime<Utc>)) -> Result<Table> {
    let damaged = || Error::precondition("a captured file lacks the columns that every one has");
    let Some(Column::I32(numbers)) = captured.table.column(OWN[1]) else { return Err(damaged()) };
    let (mut rows, mut truths, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for request in captured.requests()?.into_iter().filter(|r| from <= r.time && r.time < to) {
        for row in request.rows {
            let number = numbers.get(row).and_then(|n| u32::try_from(*n).ok()).ok_or_else(damaged)?;
            if let Some((label, time)) = labels.get(&(request.prediction, number)) {
                rows.push(row);
                truths.push(label);
                times.push(time.timestamp_micros());
            }
        }
    }
    let mut table = captured.table.take(&rows);
    let numbers = truths.iter().map(|label| if let Label::Number(value) = label { Some(*value) } else { None });
    let truth = match numbers.collect::<Option<Vec<f64>>>() {
        Some(numbers) => Column::F64(numbers),
        None => Column::Words(truths.iter().map(|label| word(label)).collect()),
    };
    let version = i64::try_from(captured.head.version).unwrap_or(i64::MAX);
    let added = [truth, Column::Time(times), Column::I64(vec![version; rows.len()])];
    let taken: Vec<String> = table.names().map(str::to_owned).collect();
    for (name, column) in ADDED.into_iter().zip(added) {
        let free = if taken.iter().any(|t| t == name) { format!("ortus.{name}") } else { name.to_owned() };
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

/// Truths that are numbers here and words in another file are words.
fn in_words(table: &mut Table) {
    if let Some(column) = truth(table)
        && let Column::F64(numbers) = column
    {
        *column = Column::Words(numbers.iter().map(ToString::to_string).collect());
    }
}
