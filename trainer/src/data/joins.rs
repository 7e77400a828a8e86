//! Point-in-time joins: each row gets what was known at its time, and nothing that
//! became known later. Written as SQL, so that sorts too large for memory use the
//! disk.

use super::query_error::message;
use super::tables::unit::per_second;
use crate::spec::{Join, Joins};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use ortus::core::error::{Error, Result, short};

/// Reserved column names.
const BASE: &str = "ortus.base";
const ROW: &str = "ortus.row";
const ID: &str = "ortus.id";
const AT: &str = "ortus.at";
const SIDE: &str = "ortus.side";

/// Joins sources to the result of the query, one after another: each row with the
/// newest row of the same keys that was known at its time. The columns are named
/// after the source, as `NAME_column`.
pub(super) async fn join(
    context: &SessionContext,
    frame: DataFrame,
    joins: &Joins,
    time: &str,
) -> Result<DataFrame> {
    let at = timestamp_sql(&frame, time, "the result of the query").await?;
    // Cached, so that rows keep their order however often they are read.
    let mut frame = frame.cache().await.map_err(refused)?;
    for (name, join) in &joins.0 {
        let about = |e: Error| e.context(format_args!("[data.joins.{name}]"));
        frame = join_source(context, frame, name, join, &at)
            .await
            .map_err(about)?;
    }
    Ok(frame)
}

/// Joins a source to the rows.
async fn join_source(
    context: &SessionContext,
    frame: DataFrame,
    name: &str,
    join: &Join,
    at: &str,
) -> Result<DataFrame> {
    let source = context
        .table(TableReference::bare(name))
        .await
        .map_err(refused)?;
    let (own, theirs) = (column_names(&frame), column_names(&source));
    for key in &join.on {
        if !own.contains(key) || !theirs.contains(key) {
            let where_not = if own.contains(key) {
                "the source"
            } else {
                "the result of the query"
            };
            return Err(Error::invalid(format!(
                "{where_not} has no column '{}', named in 'on'",
                short(key)
            )));
        }
    }

    let known = timestamp_sql(&source, &join.time, "the source").await?;
    let added: Vec<(String, String)> = theirs
        .iter()
        .filter(|column| **column != join.time && !join.on.contains(column))
        .map(|column| (column.clone(), format!("{name}_{column}")))
        .collect();
    if let Some((_, taken)) = added.iter().find(|(_, new)| own.contains(new)) {
        return Err(Error::invalid(format!(
            "the joined table has a column '{}' already; rename it in the source",
            short(taken)
        )));
    }

    context
        .deregister_table(TableReference::bare(BASE))
        .map_err(refused)?;
    context
        .register_table(TableReference::bare(BASE), frame.into_view())
        .map_err(refused)?;
    let statement = Statement {
        name,
        join,
        own: &own,
        added: &added,
        at,
        known: &known,
    };

    let joined = context.sql(&statement.sql()).await.map_err(refused)?;
    joined.cache().await.map_err(refused)
}

fn column_names(frame: &DataFrame) -> Vec<String> {
    let fields = frame.schema().fields().iter();
    fields.map(|field| field.name().clone()).collect()
}

fn refused(error: DataFusionError) -> Error {
    Error::invalid(message(&error))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the SQL of a column as a timestamp. Refuses a column that is not a time.
async fn timestamp_sql(frame: &DataFrame, column: &str, of: &str) -> Result<String> {
    let field = frame.schema().field_with_unqualified_name(column);
    let field = field
        .map_err(|_| Error::invalid(format!("{of} has no column '{}', the time", short(column))))?;
    match field.data_type() {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            Ok(format!("CAST({} AS TIMESTAMP)", quoted(column)))
        }
        // Since 1970, as everywhere.
        kind if kind.is_numeric() => Ok(format!(
            "to_timestamp_micros(CAST({} * {} AS BIGINT))",
            quoted(column),
            1e6 / per_second(frame, column).await?
        )),
        kind => Err(Error::invalid(format!(
            "'{}' of {of} is of type {kind}, which is not a time; CAST it to TIMESTAMP",
            short(column)
        ))),
    }
}

/// A join by time, to be written as SQL.
struct Statement<'s> {
    /// The source to join.
    name: &'s str,
    join: &'s Join,
    /// The columns of the rows.
    own: &'s [String],
    /// The columns of the source, with their names in the result.
    added: &'s [(String, String)],
    /// The time of a row, as an expression.
    at: &'s str,
    /// The time at which a row of the source became known, as an expression.
    known: &'s str,
}

impl Statement<'_> {
    fn sql(&self) -> String {
        let Self {
            name,
            join,
            own,
            added,
            at,
            known,
        } = *self;

        let list = |all: &[String]| all.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", ");
        let keys = list(&join.on);
        let [row, id, moment, side] = [ROW, ID, AT, SIDE].map(quoted);
        let present = join
            .on
            .iter()
            .map(|k| format!("{} IS NOT NULL", quoted(k)))
            .collect::<Vec<_>>()
            .join(" AND ");
        let lag = join.lag.as_micros();

        // Rows are numbered in the order of time, so the largest number so far is the newest.
        let numbered = format!(
            "SELECT *, row_number() OVER (ORDER BY {moment}) AS {id} FROM (SELECT *, {known} + INTERVAL '{lag} microseconds' AS {moment} \
         FROM {} WHERE {present}) WHERE {moment} IS NOT NULL",
            quoted(name)
        );

        let rows = format!(
            "SELECT *, {at} AS {moment}, row_number() OVER () AS {row} FROM {}",
            quoted(BASE)
        );
        let both = format!(
            "SELECT {keys}, {moment}, {row}, CAST(NULL AS BIGINT) AS {id}, 1 AS {side} FROM b \
         UNION ALL SELECT {keys}, {moment}, NULL AS {row}, CAST({id} AS BIGINT) AS {id}, 0 AS {side} FROM s"
        );
        let found = format!(
            "SELECT {row}, max({id}) OVER (PARTITION BY {keys} ORDER BY {moment}, {side} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS {id} \
         FROM ({both})"
        );
        let in_time = match join.within {
            Some(within) => format!(
                "b.{moment} - s.{moment} <= INTERVAL '{} microseconds'",
                within.as_micros()
            ),
            None => "TRUE".to_owned(),
        };

        let own = own.iter().map(|c| format!("b.{0} AS {0}", quoted(c)));
        let added = added.iter().map(|(from, to)| {
            format!(
                "CASE WHEN {in_time} THEN s.{} END AS {}",
                quoted(from),
                quoted(to)
            )
        });

        format!(
            "WITH b AS ({rows}), s AS ({numbered}), m AS (SELECT {row}, {id} FROM ({found}) WHERE {row} IS NOT NULL) \
         SELECT {} FROM b LEFT JOIN m ON b.{row} = m.{row} LEFT JOIN s ON s.{id} = m.{id} ORDER BY b.{row}",
            own.chain(added).collect::<Vec<_>>().join(", ")
        )
    }
}
