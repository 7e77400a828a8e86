//! A first `train.toml` from all rows of the data, with what was understood of them. What it writes was
//! tried on the rows: columns and rows that a run would refuse are left out, renamed, or named as the
//! reason why no specification can work.

mod draft;
mod outcome;
pub(crate) mod page;
mod quote;
pub(crate) mod show;
mod trial;
mod useless;
mod write;

#[cfg(test)]
mod tests;

use crate::data::look::{self, LookedKind};
use crate::data::percent::percent;
use crate::data::{Reach, RowTarget, Rows};
use crate::spec::Spec;
use crate::spec::capture_source::CaptureSource;
use draft::Draft;
use ortus::core::count::counted;
use ortus::core::error::{Error, Result, short};
use ortus::core::model::ModelName;
use ortus::storage::table::text::format::TextFormat;
use serde::Serialize;
use std::path::Path;

/// The name of the source.
const SOURCE: &str = "rows";

/// What `init` is asked for.
pub(crate) struct InitRequest {
    /// A path, or the address of captured predictions.
    pub at: String,
    pub target: String,
    /// A query over the rows, whose columns are looked at.
    pub sql: Option<String>,
    /// How text files are written, as far as it is not to be found.
    pub format: Option<TextFormat>,
}

/// A specification that works, and why it is as it is.
pub(crate) struct FirstSpec {
    pub text: String,
    pub understood: Understood,
}

/// What was understood of the data. Written for a person.
#[derive(Debug, Serialize)]
pub(crate) struct Understood {
    pub data: String,
    pub rows: usize,
    /// How text files are written.
    pub dialect: Option<String>,
    /// What the model predicts, and how rows are split.
    pub plan: String,
    /// What is suspicious, the worst first.
    pub remarks: Vec<Remark>,
    pub columns: Vec<UnderstoodColumn>,
}

/// Something suspicious.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Remark {
    #[serde(skip)]
    pub rank: RemarkRank,
    pub what: String,
    /// What to do about it.
    pub way_out: String,
}

/// What a remark is about, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RemarkRank {
    Target,
    Leak,
    Type,
    Time,
    Rows,
    Group,
    Imbalance,
    RowName,
    Category,
    Name,
    Empty,
}

/// A column and its use.
#[derive(Debug, Serialize)]
pub(crate) struct UnderstoodColumn {
    pub name: String,
    pub kind: &'static str,
    /// The share of rows without a value.
    pub missing: String,
    pub values: String,
    pub used: String,
}

/// Reads all rows, and returns a specification that a run takes. Refuses data for which there is none,
/// with the reason and what to do.
pub(crate) async fn init(request: &InitRequest, reach: &Reach) -> Result<FirstSpec> {
    let mut spec = Spec {
        folder: Path::new("").to_owned(),
        ..Spec::default()
    };
    spec.sources.0.insert(SOURCE.to_owned(), request.at.clone());
    spec.model.name = model_name(&request.at)?;
    spec.schema.target.clone_from(&request.target);
    spec.data.unlabelled_max = 1.0;
    spec.data.sql.clone_from(&request.sql);
    if let Some(format) = &request.format {
        spec.formats.0.insert(SOURCE.to_owned(), format.clone());
    }

    let table = look::look(&spec, reach).await?;
    if table.rows == 0 {
        return refused(
            "the data has no row",
            "add rows below the names of the columns",
        );
    }
    let mut draft = Draft::of(&table, spec)?;
    let (columns, rows_of_file) = (table.columns.clone(), table.rows);
    let (dialect, notes) = (table.dialect.clone(), table.notes.clone());
    let unfit = table.unfit.clone();
    let rows = table.into_rows(&draft.spec, &draft.changes)?;
    let rows = trial::settle(&mut draft, &columns, rows, reach)?;

    let plan = plan(&draft, &rows);
    let text = write::text(&draft, &columns, &rows);
    let mut shown: Vec<UnderstoodColumn> = columns
        .iter()
        .map(|column| UnderstoodColumn {
            name: column.name.clone(),
            kind: column.kind.label(),
            missing: percent(column.missing, rows_of_file),
            values: column.values.clone(),
            used: draft.uses.get(&column.name).cloned().unwrap_or_default(),
        })
        .collect();
    shown.extend(unfit.into_iter().map(|(name, kind)| UnderstoodColumn {
        name,
        kind: if kind.contains("List") {
            "list"
        } else {
            "other"
        },
        missing: String::new(),
        values: kind,
        used: "left out: no model takes this type".to_owned(),
    }));
    draft.remarks.sort();
    let notes = notes.into_iter().map(|what| Remark {
        rank: RemarkRank::Rows,
        what,
        way_out: String::new(),
    });
    draft.remarks.extend(notes);
    Ok(FirstSpec {
        text,
        understood: Understood {
            data: request.at.clone(),
            rows: rows_of_file,
            dialect,
            plan,
            remarks: draft.remarks,
            columns: shown,
        },
    })
}

/// Returns what a run will do, in one line.
fn plan(draft: &Draft, rows: &Rows) -> String {
    let target = short(&draft.spec.schema.target).to_owned();
    let what = match &rows.target {
        RowTarget::Values(_) => "a number (regression)".to_owned(),
        RowTarget::Classes { names, .. } => {
            let shown: Vec<&str> = names.iter().take(5).map(|name| short(name)).collect();
            let more = if names.len() > 5 { ", …" } else { "" };
            format!("a class ({}{more})", shown.join(", "))
        }
    };
    format!(
        "'{target}' is predicted as {what} from {} of {}, split by {}",
        counted(rows.frame.columns.len(), "feature"),
        counted(rows.len(), "row"),
        draft.split_by
    )
}

/// Returns a name for the model, after the file or the model that was captured.
fn model_name(at: &str) -> Result<String> {
    if let Some(source) = CaptureSource::parse(at)? {
        return Ok(source.model.to_string());
    }
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            c
        } else {
            '-'
        }
    };
    let stem = Path::new(at).file_stem().and_then(|stem| stem.to_str());
    // Of `rows.csv.gz` as of `rows.csv`.
    let stem = stem.unwrap_or("model");
    let stem = stem.strip_suffix(".csv").unwrap_or(stem);
    let name: String = stem.chars().map(legal).collect();
    Ok(match ModelName::parse(&name) {
        Ok(_) => name,
        Err(_) => "model".to_owned(),
    })
}

impl LookedKind {
    /// Returns the name of the kind.
    fn label(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Whole => "whole number",
            Self::Boolean => "boolean",
            Self::Words => "words",
            Self::Codes => "codes",
            Self::Time => "time",
            Self::Constant => "constant",
            Self::Missing => "no value",
        }
    }
}

/// Refuses data, with what to do.
fn refused<T>(why: &str, way_out: &str) -> Result<T> {
    Err(Error::invalid(format!("{why}; {way_out}")))
}
