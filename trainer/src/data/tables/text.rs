//! Text files as a table of the query engine: `ortus`' reader decides the types over all rows, and its
//! batches become Arrow's. Its errors pass through the engine as they are.

use super::TableNotes;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;
use ortus::core::error::{Error, Result};
use ortus::storage::table::text::TextSource;
use ortus::storage::table::text::decide::TextType;
use ortus::storage::table::text::format::TextFormat;
use ortus::storage::table::text::read::{TextBatch, TextReader, TextValues};
use ortus::storage::table::text::scan::{ScannedText, scan};
use std::path::PathBuf;
use std::sync::Arc;

/// The rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// Batches that are read ahead of the query.
const BATCHES_AHEAD: usize = 2;
/// The zone of times that have offsets.
const ZONE: &str = "UTC";

/// Reads all rows of text files once, and registers them as a table. Returns what a person should know
/// of it.
pub(super) async fn register_text(
    context: &SessionContext,
    name: &str,
    files: &[PathBuf],
    format: &TextFormat,
) -> Result<TableNotes> {
    let sources: Vec<TextSource> = files.iter().map(|file| TextSource::file(file)).collect();
    let format = format.clone();
    let scanned = tokio::task::spawn_blocking(move || scan(&sources, &format, &|_, _| Ok(())));
    let scanned = scanned
        .await
        .map_err(|e| Error::internal(e.to_string()))??;
    let notes = notes(&scanned);

    let partition = TextPartition {
        schema: schema(&scanned),
        table: Arc::new(scanned),
    };
    let registered = StreamingTable::try_new(partition.schema.clone(), vec![Arc::new(partition)])
        .and_then(|table| context.register_table(TableReference::bare(name), Arc::new(table)));
    registered.map_err(|e| Error::internal(format!("register a text table: {e}")))?;
    Ok(notes)
}

/// Returns the notes of a table and of its columns.
fn notes(scanned: &ScannedText) -> TableNotes {
    let mut columns = Vec::new();
    for column in &scanned.columns {
        let notes = column.notes.iter();
        columns.extend(notes.map(|note| (column.name.clone(), note.clone())));
    }
    TableNotes {
        dialect: Some(scanned.dialect()),
        table: scanned.notes.clone(),
        columns,
    }
}

fn schema(scanned: &ScannedText) -> SchemaRef {
    let fields = scanned.columns.iter().map(|column| {
        let kind = match column.kind {
            TextType::Missing => DataType::Null,
            TextType::Bool => DataType::Boolean,
            TextType::Whole => DataType::Int64,
            TextType::Unsigned => DataType::UInt64,
            TextType::Number => DataType::Float64,
            TextType::Time { zoned } => {
                DataType::Timestamp(TimeUnit::Microsecond, zoned.then(|| ZONE.into()))
            }
            TextType::Words => DataType::Utf8,
        };
        Field::new(&column.name, kind, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The rows of a table, in the order of the files.
#[derive(Debug)]
struct TextPartition {
    schema: SchemaRef,
    table: Arc<ScannedText>,
}

impl PartitionStream for TextPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let mut builder = RecordBatchReceiverStreamBuilder::new(schema.clone(), BATCHES_AHEAD);
        let sender = builder.tx();
        let chosen = (0..self.table.columns.len()).collect();
        let mut reader = TextReader::new(self.table.clone(), chosen, BATCH_ROWS);
        builder.spawn_blocking(move || {
            loop {
                let batch = match reader.next_batch() {
                    Ok(None) => return Ok(()),
                    Ok(Some(batch)) => record_batch(&schema, batch).map_err(DataFusionError::from),
                    Err(e) => Err(DataFusionError::External(Box::new(e))),
                };
                let is_over = batch.is_err();
                // Nobody reads on once the query ended.
                if sender.blocking_send(batch).is_err() || is_over {
                    return Ok(());
                }
            }
        });
        builder.build()
    }
}

fn record_batch(schema: &SchemaRef, batch: TextBatch) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().zip(batch.columns);
    let columns = columns.map(|(field, column)| array(field, column.values, column.present));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.rows));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

fn array(field: &Field, values: TextValues, present: Vec<bool>) -> Result<ArrayRef, ArrowError> {
    let rows = present.len();
    let nulls = Some(NullBuffer::from(present)).filter(|nulls| nulls.null_count() > 0);
    Ok(match values {
        TextValues::Missing => Arc::new(NullArray::new(rows)),
        TextValues::Bool(all) => Arc::new(BooleanArray::new(all.into(), nulls)),
        TextValues::Whole(all) => Arc::new(Int64Array::new(all.into(), nulls)),
        TextValues::Unsigned(all) => Arc::new(UInt64Array::new(all.into(), nulls)),
        TextValues::Number(all) => Arc::new(Float64Array::new(all.into(), nulls)),
        TextValues::Time(all) => {
            let times = TimestampMicrosecondArray::new(all.into(), nulls);
            Arc::new(times.with_data_type(field.data_type().clone()))
        }
        TextValues::Words(words) => {
            let too_long = |_| ArrowError::OffsetOverflowError(words.text.len());
            let ends = words.ends.iter().map(|end| i32::try_from(*end));
            let ends: Vec<i32> = std::iter::once(Ok(0))
                .chain(ends)
                .collect::<Result<_, _>>()
                .map_err(too_long)?;
            let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
            Arc::new(StringArray::try_new(
                offsets,
                words.text.into_bytes().into(),
                nulls,
            )?)
        }
    })
}
