//! The sources of a dataset as tables, and the query over them. DataFusion plans and runs it within a
//! memory limit; the result is read batch by batch within a limit of rows.

use super::captured;
use super::columns::{Gathered, Growing, is_plain};
use super::joins;
use super::manifest::{DataManifest, SourceFiles};
use super::query_error::message;
use super::staged::{self, OriginalFiles, Staged, unreadable};
use super::tables::unit::per_second;
use super::tables::{TableNotes, register};
use super::{LabelledTimes, Reach};
use crate::spec::Spec;
use crate::spec::capture_source::CaptureSource;
use crate::values::ColumnMemory;
use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{Expr, SQLOptions, SessionConfig, SessionContext, col, lit};
use futures_util::stream::StreamExt;
use ortus::core::error::{Error, Result, short};
use ortus::core::hash::Digest;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// The result of the query, with what a person should know of it.
pub(super) struct QueriedRows {
    pub columns: Vec<Gathered>,
    pub manifest: DataManifest,
    /// Notes of sources, such as files that were left out.
    pub notes: Vec<String>,
    /// Notes of tables, in the order of the sources.
    pub tables: Vec<TableNotes>,
    /// Names of columns that no model takes, with their types.
    pub unfit: Vec<(String, String)>,
    /// Names of columns that captured predictions have beside the inputs of the model.
    pub captured: Vec<String>,
}

impl QueriedRows {
    /// Returns all notes as lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.tables.iter().flat_map(TableNotes::lines).collect();
        lines.extend(self.notes.iter().cloned());
        let unfit = self.unfit.iter().map(|(name, kind)| {
            let name = short(name);
            format!("'{name}' is left out: it is of type {kind}, which a model cannot take")
        });
        lines.extend(unfit);
        lines
    }
}

/// Reads the result of the query.
pub(super) async fn read(spec: &Spec, reach: &Reach) -> Result<QueriedRows> {
    let Prepared {
        context,
        mut manifest,
        notes,
        tables,
        captured,
        stamps,
        sources,
        staging,
    } = prepare(spec, reach).await?;

    // The digests are computed while the query runs.
    let described = tokio::task::spawn_blocking(|| {
        let all = sources.into_iter().map(StagedSource::describe);
        all.collect::<Result<Vec<SourceFiles>>>()
    });
    let result = query(&context, &manifest.sql, spec, reach).await?;
    let described = described.await;
    manifest.sources = described.map_err(|e| Error::internal("read sources").with_source(e))??;
    staged::unchanged(&stamps)?;
    // The copied files had to exist until now.
    drop(staging);
    manifest.rows = result.rows;
    manifest.columns = result.types;
    Ok(QueriedRows {
        columns: result.columns,
        manifest,
        notes,
        tables,
        unfit: result.unfit,
        captured,
    })
}

/// Returns the times of the rows of the query's result that have a target; of rows without a time
/// column only how many there are.
pub(super) async fn times(spec: &Spec, reach: &Reach) -> Result<LabelledTimes> {
    let Some(name) = &spec.schema.time else {
        let rows = count(spec, reach, None).await?;
        return Ok(LabelledTimes {
            rows,
            ..LabelledTimes::default()
        });
    };
    let Some(labelled) = labelled(spec, reach).await? else {
        return Ok(LabelledTimes {
            times: Some(Vec::new()),
            ..LabelledTimes::default()
        });
    };

    let names = [Some(name), spec.schema.group.as_ref()];
    let names: Vec<&String> = names.into_iter().flatten().collect();
    let chosen: Vec<Expr> = names.iter().map(|name| column(name)).collect();
    let frame = labelled.frame.filter(column(name).is_not_null());
    let frame = frame.and_then(|frame| frame.select(chosen));
    let frame = frame.map_err(refused)?;
    let growing = names.iter().zip(frame.schema().fields());
    let share = ColumnMemory::of(spec.data.columns_memory_max);
    let growing = growing.map(|(name, field)| Growing::new(name, field.data_type(), &share));
    let mut growing = growing.collect::<Result<Vec<_>>>()?;
    collect(frame, &mut growing, usize::MAX).await?;

    let gathered = growing.into_iter().map(Growing::finish);
    let mut gathered = gathered.collect::<Result<Vec<_>>>()?.into_iter();
    let times = gathered.next().map_or(Ok(Vec::new()), Gathered::times)?;
    let groups = gathered.next().map(Gathered::groups);
    Ok(in_order(times, groups, reach.now))
}

/// Orders rows by time, and counts those of the future apart.
fn in_order(times: Vec<i64>, groups: Option<Vec<u32>>, now: DateTime<Utc>) -> LabelledTimes {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|row| times[*row]);
    let now = now.timestamp_micros();
    let rows = order.partition_point(|row| times[*row] <= now);
    let known = &order[..rows];
    LabelledTimes {
        rows,
        times: Some(known.iter().map(|row| times[*row]).collect()),
        groups: groups.map(|groups| known.iter().map(|row| groups[*row]).collect()),
        future: order.len() - rows,
    }
}

/// Counts rows of the query's result that have a target and a later time than `after`.
pub(super) async fn count(
    spec: &Spec,
    reach: &Reach,
    after: Option<DateTime<Utc>>,
) -> Result<usize> {
    let Some(LabelledRows {
        mut frame,
        _prepared,
    }) = labelled(spec, reach).await?
    else {
        return Ok(0);
    };
    if let Some(name) = &spec.schema.time {
        if let Some(after) = after {
            let after = time_literal(&frame, name, after).await?;
            frame = frame.filter(column(name).gt(after)).map_err(refused)?;
        }
        // Rows of the future are not known yet.
        let now = time_literal(&frame, name, reach.now).await?;
        frame = frame.filter(column(name).lt_eq(now)).map_err(refused)?;
    }
    frame.count().await.map_err(refused)
}

/// Rows that have a target. The copied files must exist until they are read.
struct LabelledRows {
    frame: DataFrame,
    _prepared: Prepared,
}

/// Plans to read the rows that have a target; none if there are no captured predictions with labels
/// yet.
async fn labelled(spec: &Spec, reach: &Reach) -> Result<Option<LabelledRows>> {
    let prepared = match prepare(spec, reach).await {
        Err(error) if error.kind == ortus::core::error::Kind::NotFound => return Ok(None),
        prepared => prepared?,
    };

    let frame = prepared
        .context
        .sql_with_options(&prepared.manifest.sql, only_reads())
        .await
        .map_err(refused)?;
    let frame = frame
        .filter(column(&spec.schema.target).is_not_null())
        .map_err(refused)?;
    Ok(Some(LabelledRows {
        frame,
        _prepared: prepared,
    }))
}

/// Returns a time as a literal of the column's type.
async fn time_literal(frame: &DataFrame, column: &str, time: DateTime<Utc>) -> Result<Expr> {
    let field = frame.schema().field_with_unqualified_name(column);
    let kind = field.map_err(|_| {
        Error::invalid(format!(
            "the data has no column '{}', the time",
            short(column)
        ))
    })?;

    let micros = time.timestamp_micros();
    match kind.data_type() {
        // Numbers are of the unit in which they are read.
        kind if kind.is_numeric() => {
            Ok(lit(micros as f64 / 1e6 * per_second(frame, column).await?))
        }
        kind => {
            let time = ScalarValue::TimestampMicrosecond(Some(micros), None);
            Ok(lit(time.cast_to(kind).map_err(refused)?))
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
    let mut manifest = DataManifest {
        as_of: reach.as_of,
        ..DataManifest::default()
    };
    let (mut notes, mut stamps) = (Vec::new(), Vec::new());
    let (mut tables, mut captured) = (Vec::new(), Vec::new());
    let mut sources = Vec::new();
    for (name, at) in &spec.sources.0 {
        let about = |e: Error| e.context(format_args!("the source '{name}'"));
        let into = staging.path().join(name);
        std::fs::create_dir_all(&into).map_err(|e| unreadable(&into, e))?;
        let staged = staged(spec, reach, at, &into).await.map_err(about)?;
        let text = spec.formats.0.get(name);
        let registered = register(&context, name, &staged.tables, text).await;
        tables.push(registered.map_err(about)?);
        sources.push(StagedSource {
            name: name.clone(),
            files: staged.files,
            rows_digest: staged.rows_digest,
        });
        notes.extend(staged.notes);
        captured.extend(staged.captured);
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
        tables,
        captured,
        stamps,
        sources,
        staging,
    })
}

/// A source, and where it comes from.
struct StagedSource {
    name: String,
    files: OriginalFiles,
    rows_digest: Option<Digest>,
}

impl StagedSource {
    fn describe(self) -> Result<SourceFiles> {
        let files = self.files.describe();
        Ok(SourceFiles {
            files: files.map_err(|e| e.context(format_args!("the source '{}'", self.name)))?,
            name: self.name,
            rows_digest: self.rows_digest,
        })
    }
}

/// A session with the sources as tables.
struct Prepared {
    context: SessionContext,
    manifest: DataManifest,
    notes: Vec<String>,
    tables: Vec<TableNotes>,
    /// Names of columns that captured predictions have beside the inputs of the model.
    captured: Vec<String>,
    stamps: Vec<(PathBuf, staged::Stamp)>,
    sources: Vec<StagedSource>,
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

/// Makes a session that keeps the order of rows, within a limit of memory.
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

/// Returns a column by its exact name.
fn column(name: &str) -> Expr {
    col(datafusion::common::Column::new_unqualified(name))
}

/// The result of a query.
struct QueryResult {
    columns: Vec<Gathered>,
    /// The name and the type of each column.
    types: Vec<(String, String)>,
    rows: usize,
    /// Names of columns that were left out, with their types.
    unfit: Vec<(String, String)>,
}

/// Runs the query, and reads its result.
async fn query(
    context: &SessionContext,
    sql: &str,
    spec: &Spec,
    reach: &Reach,
) -> Result<QueryResult> {
    let frame = plan(context, sql, spec, reach).await?;
    let (frame, unfit) = fit(frame, spec)?;
    let schema = frame.schema().as_arrow().clone();
    check_names(&schema)?;

    let fields = schema.fields().iter();
    let share = ColumnMemory::of(spec.data.columns_memory_max);
    let mut columns: Vec<Growing> = fields
        .map(|field| Growing::new(field.name(), field.data_type(), &share))
        .collect::<Result<_>>()?;
    let rows = collect(frame, &mut columns, spec.data.rows_max).await?;

    let types = schema.fields().iter();
    let types = types.map(|field| (field.name().clone(), field.data_type().to_string()));
    Ok(QueryResult {
        columns: columns
            .into_iter()
            .map(Growing::finish)
            .collect::<Result<_>>()?,
        types: types.collect(),
        rows,
        unfit,
    })
}

/// Leaves out columns of types that no model takes, such as lists, unless the specification names them.
/// Returns their names and types.
fn fit(frame: DataFrame, spec: &Spec) -> Result<(DataFrame, Vec<(String, String)>)> {
    let schema = frame.schema().as_arrow().clone();
    check_names(&schema)?;
    let of = &spec.schema;
    let roles = [of.time.as_ref(), of.group.as_ref(), of.weight.as_ref()];
    let named = roles.into_iter().flatten().chain([&of.target]);
    let named = named.chain(&of.features).chain(&of.categories);
    let named: Vec<&String> = named.chain(spec.calendar.0.keys()).collect();
    let is_kept =
        |field: &&Arc<Field>| is_plain(field.data_type()) || named.contains(&field.name());
    let (kept, others): (Vec<_>, Vec<_>) = schema.fields().iter().partition(is_kept);
    if others.is_empty() || kept.is_empty() {
        return Ok((frame, Vec::new()));
    }

    let unfit = others
        .into_iter()
        .map(|field| (field.name().clone(), field.data_type().to_string()));
    let unfit = unfit.collect();
    let kept = kept.into_iter().map(|field| column(field.name()));
    let frame = frame.select(kept.collect::<Vec<_>>()).map_err(refused)?;
    Ok((frame, unfit))
}

/// Plans the query: only rows up to the time that counts as now, with their joins.
async fn plan(
    context: &SessionContext,
    sql: &str,
    spec: &Spec,
    reach: &Reach,
) -> Result<DataFrame> {
    let frame = context.sql_with_options(sql, only_reads()).await;
    let frame = frame.map_err(refused)?;
    let Some(time) = &spec.schema.time else {
        return Ok(frame);
    };

    // Later rows must not be seen at all: not as a class, not in a join.
    let frame = match reach.as_of {
        Some(as_of) => {
            let until = time_literal(&frame, time, as_of).await?;
            // Rows without a time are counted where the columns get their roles.
            let seen = column(time).lt_eq(until).or(column(time).is_null());
            frame.filter(seen).map_err(refused)?
        }
        None => frame,
    };
    if spec.joins.0.is_empty() {
        return Ok(frame);
    }
    joins::join(context, frame, &spec.joins, time).await
}

/// Refuses a result with two columns of the same name.
fn check_names(schema: &Schema) -> Result<()> {
    let mut names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(Error::invalid(format!(
            "the query returns two columns named '{}'; rename one with AS",
            short(twice[0])
        ))),
        None => Ok(()),
    }
}

/// Reads the rows batch by batch, and returns their number. Refuses more than `rows_max`.
async fn collect(frame: DataFrame, columns: &mut [Growing], rows_max: usize) -> Result<usize> {
    let mut stream = frame.execute_stream().await.map_err(refused)?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(refused)?;
        rows += batch.num_rows();
        if rows > rows_max {
            return Err(Error::overloaded(format!(
                "the query returns over {rows_max} rows, 'rows_max' in [data]"
            )));
        }
        let pushed: Vec<Result<()>> = columns
            .par_iter_mut()
            .zip(batch.columns())
            .map(|(column, array)| column.push(array))
            .collect();
        pushed.into_iter().collect::<Result<()>>()?;
    }
    Ok(rows)
}

/// Returns the error of a query that the engine refuses, or that needs too much memory.
fn refused(error: DataFusionError) -> Error {
    // That of our own reader, in full.
    if let DataFusionError::External(own) = error.find_root()
        && let Some(own) = own.downcast_ref::<Error>()
    {
        return Error::new(own.kind, own.message.clone());
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => Error::overloaded(format!(
            "the query needs more memory than 'memory_max' in [data] allows: {}",
            message(&error)
        )),
        _ => Error::invalid(format!("the query: {}", message(&error))),
    }
}
