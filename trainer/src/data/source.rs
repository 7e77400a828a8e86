//! Files as tables, and the query over them. DataFusion plans and runs it within a
//! memory limit; the result is read batch by batch within a limit of rows.

use super::super::spec::Spec;
use super::super::spec::capture_source::CaptureSource;
use super::Reach;
use super::captured;
use super::columns::{Gathered, Growing};
use super::joins;
use super::manifest::{Manifest, Source};
use super::query_error::message;
use super::staged::{self, Format, Staged, unreadable};
use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{
    CsvReadOptions, Expr, JsonReadOptions, ParquetReadOptions, SQLOptions, SessionConfig,
    SessionContext, col, lit,
};
use futures_util::stream::StreamExt;
use ortus::core::error::short;
use ortus::core::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// The rows of a CSV file from which column types are inferred.
const LOOK_ROWS: usize = 100_000;

/// Reads the result of the query.
pub(super) async fn read(
    spec: &Spec,
    reach: &Reach,
) -> Result<(Vec<Gathered>, Manifest, Vec<String>)> {
    let Prepared {
        context,
        mut manifest,
        notes,
        stamps,
        staging,
    } = prepare(spec, reach).await?;

    let gathered = query(&context, &manifest.sql, spec, reach).await?;
    staged::unchanged(&stamps)?;
    // The copied files had to exist until now.
    drop(staging);
    manifest.rows = gathered.1;
    let (columns, types): (Vec<Gathered>, Vec<(String, String)>) = gathered.0.into_iter().unzip();
    manifest.columns = types;
    Ok((columns, manifest, notes))
}

/// Counts rows of the query's result that have a target and a later time than `after`.
pub(super) async fn count(
    spec: &Spec,
    reach: &Reach,
    after: Option<DateTime<Utc>>,
) -> Result<usize> {
    // Captured predictions may have no labels yet; then no rows are new.
    let prepared = match prepare(spec, reach).await {
        Err(error) if error.kind == ortus::core::error::Kind::NotFound => return Ok(0),
        prepared => prepared?,
    };

    let broken = |e: datafusion::error::DataFusionError| {
        Error::invalid(format!("the query: {}", message(&e)))
    };
    let mut frame = prepared
        .context
        .sql_with_options(&prepared.manifest.sql, only_reads())
        .await
        .map_err(broken)?;
    frame = frame
        .filter(column(&spec.schema.target).is_not_null())
        .map_err(broken)?;
    if let Some(name) = &spec.schema.time {
        if let Some(after) = after {
            frame = frame
                .clone()
                .filter(column(name).gt(moment(&frame, name, after)?))
                .map_err(broken)?;
        }
        // Rows of the future are not known yet.
        frame = frame
            .clone()
            .filter(column(name).lt_eq(moment(&frame, name, reach.now)?))
            .map_err(broken)?;
    }

    frame.count().await.map_err(broken)
}

/// A time as a literal of the column's type.
fn moment(frame: &DataFrame, column: &str, time: DateTime<Utc>) -> Result<Expr> {
    let broken = |e: datafusion::error::DataFusionError| {
        Error::invalid(format!("the query: {}", message(&e)))
    };
    let field = frame.schema().field_with_unqualified_name(column);
    let kind = field.map_err(|_| {
        Error::invalid(format!(
            "the data has no column '{}', the time",
            short(column)
        ))
    })?;

    let micros = time.timestamp_micros();
    match kind.data_type() {
        // Numbers are seconds, as where the data are read.
        kind if kind.is_numeric() => Ok(lit(micros as f64 / 1e6)),
        kind => {
            let time = ScalarValue::TimestampMicrosecond(Some(micros), None);
            Ok(lit(time.cast_to(kind).map_err(broken)?))
        }
    }
}

fn only_reads() -> SQLOptions {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
}

/// Registers the sources as tables; copied files live as long as
/// the folder.
async fn prepare(spec: &Spec, reach: &Reach) -> Result<Prepared> {
    let context = context(spec)?;
    let staging = crate::scratch::folder()?;
    let mut manifest = Manifest {
        as_of: reach.as_of,
        ..Manifest::default()
    };
    let (mut notes, mut stamps) = (Vec::new(), Vec::new());
    for (name, at) in &spec.sources.0 {
        let about = |e: Error| e.context(format_args!("the source '{name}'"));
        let into = staging.path().join(name);
        std::fs::create_dir_all(&into).map_err(|e| unreadable(&into, e))?;
        let staged = staged(spec, reach, at, &into).await.map_err(about)?;
        register(&context, name, &staged.tables)
            .await
            .map_err(about)?;
        manifest.sources.push(Source {
            name: name.clone(),
            files: staged.files,
            rows_digest: staged.rows_digest,
        });
        notes.extend(staged.notes);
        stamps.extend(staged.stamps);
    }

    let only = spec.only_source().map_or("", String::as_str);
    manifest.sql = spec
        .data
        .sql
        .clone()
        .unwrap_or_else(|| format!("SELECT * FROM \"{only}\""));
    Ok(Prepared {
        context,
        manifest,
        notes,
        stamps,
        staging,
    })
}

/// A session with the sources as tables.
struct Prepared {
    context: SessionContext,
    manifest: Manifest,
    notes: Vec<String>,
    stamps: Vec<(PathBuf, staged::Stamp)>,
    /// The folder of copied files.
    staging: TempDir,
}

async fn staged(spec: &Spec, reach: &Reach, at: &str, into: &Path) -> Result<Staged> {
    if let Some(source) = CaptureSource::parse(at)? {
        let records = reach.records.as_ref();
        let records = records.ok_or_else(|| {
            Error::invalid("captured predictions are stored in a registry; pass --registry")
        })?;
        let as_of = reach.as_of.unwrap_or(reach.now);
        let bytes_max = spec.data.staged_max as u64;
        return captured::stage(&source, records, as_of, into, bytes_max).await;
    }

    match at.split_once("://") {
        Some(("file", path)) => staged::local(&spec.folder, path),
        Some(_) => staged::bucket(at, into, spec.data.staged_max as u64).await,
        None => staged::local(&spec.folder, at),
    }
}

/// A session that keeps the order of rows, within a limit of memory.
fn context(spec: &Spec) -> Result<SessionContext> {
    let failed = |e| Error::internal(format!("prepare to read data: {e}"));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(spec.data.memory_max, 1.0)
        .build()
        .map_err(failed)?;
    // One partition, so that the same files and query give the same order of rows.
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(8_192);
    config.options_mut().sql_parser.enable_ident_normalization = false;

    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::new(runtime))
        .with_default_features();
    Ok(SessionContext::new_with_state(state.build()))
}

/// Registers files as a table. Refuses files whose columns differ.
async fn register(context: &SessionContext, name: &str, files: &[PathBuf]) -> Result<()> {
    let kinds: Vec<Option<Format>> = files.iter().map(|f| Format::of(f)).collect();
    let Some(format) = kinds[0].filter(|first| kinds.iter().all(|k| *k == Some(*first))) else {
        return Err(Error::invalid(
            "its files must all be Parquet, all CSV or all JSON lines, by their file name extensions",
        ));
    };

    let mut first: Option<(SchemaRef, &PathBuf)> = None;
    let mut tables = Vec::new();
    for (at, path) in files.iter().enumerate() {
        let whole = std::fs::canonicalize(path).map_err(|e| unreadable(path, e))?;
        let whole = whole
            .to_str()
            .ok_or_else(|| Error::invalid("the file name is not UTF-8"))?;
        let alone = if files.len() == 1 {
            name.to_owned()
        } else {
            format!("{name}_file_{at}")
        };
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .map(|e| format!(".{e}"))
            .unwrap_or_default();
        let table = datafusion::common::TableReference::bare(alone.clone());
        let registered = match format {
            Format::Parquet => {
                let options = ParquetReadOptions {
                    file_extension: &extension,
                    ..ParquetReadOptions::default()
                };
                context.register_parquet(table, whole, options).await
            }
            Format::Csv => {
                let options = CsvReadOptions::new()
                    .file_extension(&extension)
                    .schema_infer_max_records(LOOK_ROWS);
                context.register_csv(table, whole, options).await
            }
            Format::Json => {
                let options = JsonReadOptions {
                    file_extension: &extension,
                    schema_infer_max_records: LOOK_ROWS,
                    ..JsonReadOptions::default()
                };
                context.register_json(table, whole, options).await
            }
        };
        let broken = |e: datafusion::error::DataFusionError| {
            Error::invalid(format!("{}: {}", path.display(), message(&e)))
        };
        registered.map_err(broken)?;
        let frame = context
            .table(datafusion::common::TableReference::bare(alone))
            .await
            .map_err(broken)?;
        let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
        if schema.fields().is_empty() {
            return Err(Error::invalid(format!("{} has no column", path.display())));
        }
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
        tables.push(frame);
    }

    if tables.len() == 1 {
        return Ok(());
    }
    // By name, in the order of the files.
    let broken = |e: datafusion::error::DataFusionError| Error::invalid(message(&e));
    let mut tables = tables.into_iter();
    let Some(mut whole) = tables.next() else {
        return Ok(());
    };
    for next in tables {
        whole = whole.union_by_name(next).map_err(broken)?;
    }
    context
        .register_table(
            datafusion::common::TableReference::bare(name),
            whole.into_view(),
        )
        .map_err(broken)?;
    Ok(())
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

type Typed = (Gathered, (String, String));

/// A column by its exact name.
fn column(name: &str) -> Expr {
    col(datafusion::common::Column::new_unqualified(name))
}

async fn query(
    context: &SessionContext,
    sql: &str,
    spec: &Spec,
    reach: &Reach,
) -> Result<(Vec<Typed>, usize)> {
    let rows_max = spec.data.rows_max;
    let broken = |e: datafusion::error::DataFusionError| match e.find_root() {
        datafusion::error::DataFusionError::ResourcesExhausted(_) => Error::overloaded(format!(
            "the query needs more memory than 'memory_max' in [data] allows: {}",
            message(&e)
        )),
        _ => Error::invalid(format!("the query: {}", message(&e))),
    };

    let frame = context
        .sql_with_options(sql, only_reads())
        .await
        .map_err(broken)?;
    // Later rows must not be seen at all: not as a class, not in a join.
    let frame = match (&spec.schema.time, reach.as_of) {
        (Some(time), Some(as_of)) => {
            let until = moment(&frame, time, as_of)?;
            frame.filter(column(time).lt_eq(until)).map_err(broken)?
        }
        _ => frame,
    };

    let frame = match &spec.schema.time {
        Some(time) if !spec.joins.0.is_empty() => {
            joins::join(context, frame, &spec.joins, time).await?
        }
        _ => frame,
    };

    let schema = frame.schema().as_arrow().clone();
    let mut names: Vec<&String> = schema.fields().iter().map(|f| f.name()).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
        return Err(Error::invalid(format!(
            "the query returns two columns named '{}'; rename one with AS",
            short(twice[0])
        )));
    }

    let mut columns: Vec<Growing> = schema
        .fields()
        .iter()
        .map(|f| Growing::new(f.name(), f.data_type()))
        .collect::<Result<_>>()?;
    let mut stream = frame.execute_stream().await.map_err(broken)?;

    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(broken)?;
        rows += batch.num_rows();
        if rows > rows_max {
            return Err(Error::overloaded(format!(
                "the query returns over {rows_max} rows, 'rows_max' in [data]"
            )));
        }
        columns
            .iter_mut()
            .zip(batch.columns())
            .try_for_each(|(column, array)| column.push(array))?;
    }

    let types = schema
        .fields()
        .iter()
        .map(|f| (f.name().clone(), f.data_type().to_string()));
    Ok((
        columns
            .into_iter()
            .map(Growing::finish)
            .zip(types)
            .collect(),
        rows,
    ))
}
