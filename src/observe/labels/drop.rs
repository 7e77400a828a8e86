//! Import of label files from a directory. Each Parquet or CSV file is read once and moved to `taken`
//! with a note of the result. Columns: prediction_id, label, and row if it is not always 0.

use super::Feedback;
use super::given::Given;
use crate::core::error::{Error, Result};
use crate::observe::quality::answer::Label;
use crate::storage::table::{Cell, Column, Table};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::{Duration, SystemTime};

/// A file that was written within this time may be incomplete.
const SETTLE: Duration = Duration::from_secs(2);
/// The subdirectory that imported files are moved to.
const TAKEN: &str = "taken";

/// Imports files from the directory until labels are switched off.
pub(super) async fn watch(feedback: Weak<Feedback>, folder: PathBuf) {
    loop {
        let Some(feedback) = feedback.upgrade() else {
            return;
        };
        let poll = feedback.options.settings.poll;
        for file in files(&folder) {
            let note = match take(&feedback, &file).await {
                Ok(note) => note,
                // The store failed, not the file: it is tried again.
                Err(DropFault::Store(error)) => {
                    tracing::warn!(file = %file.display(), %error, "a label file cannot be stored yet and is tried again");
                    continue;
                }
                Err(DropFault::File(error)) => {
                    tracing::error!(file = %file.display(), %error, "a label file is refused");
                    serde_json::json!({"error": error.message})
                }
            };
            if let Err(error) = put_away(&folder, &file, &note) {
                tracing::error!(file = %file.display(), %error, "a label file cannot be moved; the import of label files stops");
                return;
            }
        }
        drop(feedback);
        tokio::time::sleep(poll).await;
    }
}

/// Lists the files to import, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let now = SystemTime::now();

    let settled = |entry: &std::fs::DirEntry| {
        let Ok(meta) = entry.metadata() else {
            return false;
        };
        let age = meta
            .modified()
            .ok()
            .and_then(|at| now.duration_since(at).ok())
            .unwrap_or_default();
        meta.is_file() && age >= SETTLE
    };

    let is_table = |path: &PathBuf| {
        path.extension()
            .is_some_and(|e| e == "parquet" || e == "csv")
    };
    let mut files: Vec<PathBuf> = listed
        .filter(settled)
        .map(|entry| entry.path())
        .filter(is_table)
        .collect();
    files.sort();

    files
}

/// What a failure is due to.
enum DropFault {
    File(Error),
    Store(Error),
}

async fn take(feedback: &Feedback, file: &Path) -> Result<serde_json::Value, DropFault> {
    let path = file.to_owned();
    let read = tokio::task::spawn_blocking(move || labels(&path)).await;
    let labels =
        read.map_err(|e| DropFault::Store(Error::internal("read a label file").with_source(e)))?;
    let labels = labels.map_err(DropFault::File)?;
    let (mut accepted, mut duplicates, mut refused, mut errors) = (0, 0, 0, Vec::new());
    let mut labels = labels.into_iter();
    let mut at = 0;
    loop {
        let some: Vec<Result<Given>> = labels
            .by_ref()
            .take(feedback.options.settings.labels_max)
            .collect();
        if some.is_empty() {
            break;
        }
        let count = some.len();
        feedback.wait_for_search().await;
        let receipt = feedback.accept(some).await.map_err(DropFault::Store)?;
        accepted += receipt.accepted;
        duplicates += receipt.duplicates;
        refused += receipt.refused.len();
        let told = receipt
            .refused
            .iter()
            .take(100_usize.saturating_sub(errors.len()));
        errors.extend(
            told.map(|r| serde_json::json!({"row": at + r.index, "message": r.error.message})),
        );
        at += count;
    }

    tracing::info!(file = %file.display(), accepted, duplicates, refused, "label file imported");
    Ok(
        serde_json::json!({"accepted": accepted, "duplicates": duplicates, "refused": refused, "errors": errors}),
    )
}

/// Reads the labels of a file. Refuses a file without the required columns.
pub(super) fn labels(path: &Path) -> Result<Vec<Result<Given>>> {
    let table = Table::read(path)?;
    let column = |name: &str| table.column(name);
    let missing = |name: &str| Error::invalid(format!("the file has no column '{name}'"));
    let ids = column("prediction_id").ok_or_else(|| missing("prediction_id"))?;
    let labels = column("label").ok_or_else(|| missing("label"))?;
    let rows = column("row");
    let one = |at: usize| {
        let row = match rows.and_then(|rows| rows.cell(at)) {
            None => 0,
            Some(Cell::Whole(n)) => u32::try_from(n)
                .map_err(|_| Error::invalid("row must be a non-negative integer"))?,
            Some(Cell::Unsigned(n)) => u32::try_from(n)
                .map_err(|_| Error::invalid("row must be a non-negative integer"))?,
            Some(Cell::Number(n))
                if n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&n) =>
            {
                n as u32
            }
            Some(_) => return Err(Error::invalid("row must be a non-negative integer")),
        };
        let label = match labels.cell(at) {
            Some(Cell::Whole(v)) if matches!(labels, Column::Bool(_)) => {
                Label::Word((v != 0).to_string())
            }
            Some(Cell::Whole(v)) => Label::Number(v as f64),
            Some(Cell::Unsigned(v)) => Label::Number(v as f64),
            Some(Cell::Number(v)) if v.is_finite() => Label::Number(v),
            Some(Cell::Word(word)) if !word.is_empty() => Label::Word(word.to_owned()),
            _ => return Err(Error::invalid("label is required")),
        };
        Given::of_parts(&ids.word(at), row, label, None)
    };

    Ok((0..table.rows).map(one).collect())
}

fn put_away(folder: &Path, file: &Path, note: &serde_json::Value) -> std::io::Result<()> {
    let taken = folder.join(TAKEN);
    std::fs::create_dir_all(&taken)?;
    let mut name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if taken.join(&name).exists() {
        name = format!("{}-{name}", uuid::Uuid::now_v7());
    }

    std::fs::rename(file, taken.join(&name))?;
    std::fs::write(taken.join(format!("{name}.json")), note.to_string())
}
