//! Registers the files of a source as one table of the query engine.

mod text;
pub(super) mod unit;

use super::query_error::message;
use super::staged::{FileFormat, unreadable};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::prelude::{JsonReadOptions, ParquetReadOptions, SessionContext};
use ortus::core::error::{Error, Result, short};
use ortus::storage::table::text::format::TextFormat;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use text::register_text;

/// The rows of a file of JSON lines from which column types are inferred.
const LOOK_ROWS: usize = 100_000;

/// What a person should know of a table.
#[derive(Debug, Default)]
pub(super) struct TableNotes {
    /// How its text files are written; none for other files.
    pub dialect: Option<String>,
    /// Rows and columns that were left out.
    pub table: Vec<String>,
    /// Names of columns, each with a note.
    pub columns: Vec<(String, String)>,
}

impl TableNotes {
    /// Returns the notes as lines, with how the files are written if that is not usual.
    pub(super) fn lines(&self) -> Vec<String> {
        let dialect = self.dialect.iter().filter(|dialect| *dialect != "commas");
        let mut lines: Vec<String> = dialect
            .map(|dialect| format!("the files are read as: {dialect}"))
            .collect();
        lines.extend(self.table.iter().cloned());
        let of_column = |(name, note): &(String, String)| format!("'{}': {note}", short(name));
        lines.extend(self.columns.iter().map(of_column));
        lines
    }
}

/// Registers files as a table. Refuses files whose columns differ. Returns what a person should know of
/// the table. `text` says how text files are written.
pub(super) async fn register(
    context: &SessionContext,
    name: &str,
    files: &[PathBuf],
    text: Option<&TextFormat>,
) -> Result<TableNotes> {
    let format = common_format(files)?;
    if format == FileFormat::Text {
        let text = text.cloned().unwrap_or_default();
        return register_text(context, name, files, &text).await;
    }
    if text.is_some() {
        return Err(Error::invalid(
            "'format' describes text files, such as CSV; these are not, so leave it out",
        ));
    }
    if let [only] = files {
        let registered = register_file(context, name, only, format).await;
        return registered.map(|_| TableNotes::default());
    }

    let mut first: Option<(SchemaRef, &Path)> = None;
    let mut whole: Option<DataFrame> = None;
    for (at, path) in files.iter().enumerate() {
        let alone = format!("{name}_file_{at}");
        let frame = register_file(context, &alone, path, format).await?;
        let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
        match &first {
            None => first = Some((schema, path)),
            Some((known, of)) => same(known, &schema).map_err(|why| {
                Error::invalid(format!(
                    "{} and {} differ: {why}",
                    of.display(),
                    path.display()
                ))
            })?,
        }

        // By name, in the order of the files.
        whole = Some(match whole {
            None => frame,
            Some(whole) => whole.union_by_name(frame).map_err(refused)?,
        });
    }

    if let Some(whole) = whole {
        let name = TableReference::bare(name);
        let registered = context.register_table(name, whole.into_view());
        registered.map_err(refused)?;
    }
    Ok(TableNotes::default())
}

fn refused(error: DataFusionError) -> Error {
    Error::invalid(message(&error))
}

/// Returns the format of the files. Refuses files of different or unknown formats.
fn common_format(files: &[PathBuf]) -> Result<FileFormat> {
    // One file of an unknown extension is what its content is.
    if let [only] = files
        && FileFormat::of(only).is_none()
    {
        return FileFormat::of_content(only);
    }
    let formats: Vec<Option<FileFormat>> = files.iter().map(|file| FileFormat::of(file)).collect();
    let first = formats.first().copied().flatten();
    first
        .filter(|first| formats.iter().all(|format| *format == Some(*first)))
        .ok_or_else(|| {
            Error::invalid(
                "its files must all be Parquet, all text (CSV) or all JSON lines, by their file name extensions",
            )
        })
}

/// Registers a file as a table. Refuses one that cannot be read, or has no column.
async fn register_file(
    context: &SessionContext,
    name: &str,
    path: &Path,
    format: FileFormat,
) -> Result<DataFrame> {
    let whole = std::fs::canonicalize(path).map_err(|e| unreadable(path, e))?;
    let whole = whole
        .to_str()
        .ok_or_else(|| Error::invalid("the file name is not UTF-8"))?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    let extension = extension.map_or_else(String::new, |extension| format!(".{extension}"));
    let table = TableReference::bare(name);

    let registered = match format {
        FileFormat::Parquet => {
            let options = ParquetReadOptions {
                file_extension: &extension,
                ..ParquetReadOptions::default()
            };
            context.register_parquet(table, whole, options).await
        }
        FileFormat::Text | FileFormat::Json => {
            let options = JsonReadOptions {
                file_extension: &extension,
                schema_infer_max_records: LOOK_ROWS,
                ..JsonReadOptions::default()
            };
            context.register_json(table, whole, options).await
        }
    };
    let refused_file = |error: DataFusionError| refused(error).context(path.display());
    registered.map_err(refused_file)?;

    let frame = context.table(TableReference::bare(name)).await;
    let frame = frame.map_err(refused_file)?;
    if frame.schema().fields().is_empty() {
        return Err(Error::invalid(format!("{} has no column", path.display())));
    }
    Ok(frame)
}

/// Checks that two files have the same columns; all numeric types are alike.
fn same(one: &SchemaRef, other: &SchemaRef) -> std::result::Result<(), String> {
    for field in one.fields() {
        let Some((_, found)) = other.column_with_name(field.name()) else {
            return Err(format!("only the first has '{}'", short(field.name())));
        };
        let (a, b) = (field.data_type(), found.data_type());
        let is_free = |kind: &DataType| *kind == DataType::Null;
        let alike = a == b || (a.is_numeric() && b.is_numeric()) || is_free(a) || is_free(b);
        if !alike {
            return Err(format!(
                "'{}' is {a} in the first and {b} in the other",
                short(field.name())
            ));
        }
    }

    match other
        .fields()
        .iter()
        .find(|f| one.column_with_name(f.name()).is_none())
    {
        Some(more) => Err(format!("only the other has '{}'", short(more.name()))),
        None => Ok(()),
    }
}
