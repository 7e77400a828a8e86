//! Parquet: writes flat tables in one row group, compressed with Snappy, and reads
//! those of other programs. The only file that names `parquet`.

#[cfg(test)]
mod tests;

use super::{Cell, Column, Table, check};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use bytes::Bytes;
use half::f16;
use parquet::basic::{
    Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical,
};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescriptor, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The magic bytes at the start of a Parquet file.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// Metadata of a file, as pairs of key and value.
pub type Notes = BTreeMap<String, String>;

/// Writes a table. Every column has a value for each row.
pub fn write(table: &Table, notes: &Notes) -> Result<Vec<u8>> {
    let failed = |e: ParquetError| Error::internal("write Parquet").with_source(e);
    let fields = table
        .columns
        .iter()
        .map(|(name, column)| field(name, column).map(Arc::new));
    let fields = fields.collect::<Result<Vec<_>, _>>().map_err(failed)?;

    let schema = Type::group_type_builder("rows")
        .with_fields(fields)
        .build()
        .map_err(failed)?;
    let notes = notes
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
        .collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("ortus {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(notes))
        .build();
    let mut bytes = Vec::new();

    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))
        .map_err(failed)?;
    let mut group = writer.next_row_group().map_err(failed)?;
    for (_, column) in &table.columns {
        let mut place = group
            .next_column()
            .map_err(failed)?
            .expect("the schema has one column per column of the table");
        put(place.untyped(), column).map_err(failed)?;
        place.close().map_err(failed)?;
    }

    group.close().map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(bytes)
}

fn field(name: &str, column: &Column) -> Result<Type, ParquetError> {
    let (physical, logical) = match column {
        Column::Bool(_) => (Physical::BOOLEAN, None),
        Column::I32(_) => (Physical::INT32, None),
        Column::I64(_) => (Physical::INT64, None),
        Column::U64(_) => (Physical::INT64, Some(LogicalType::integer(64, false))),
        Column::F32(_) => (Physical::FLOAT, None),
        Column::F64(_) => (Physical::DOUBLE, None),
        Column::Time(_) => (
            Physical::INT64,
            Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
        ),
        Column::Words(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Column::Bytes(_) => (Physical::BYTE_ARRAY, None),
    };

    let field = Type::primitive_type_builder(name, physical).with_repetition(Repetition::REQUIRED);
    field.with_logical_type(logical).build()
}

fn put(writer: &mut ColumnWriter<'_>, column: &Column) -> Result<usize, ParquetError> {
    use ColumnWriter as W;
    match (writer, column) {
        (W::BoolColumnWriter(w), Column::Bool(values)) => w.write_batch(values, None, None),
        (W::Int32ColumnWriter(w), Column::I32(values)) => w.write_batch(values, None, None),
        (W::Int64ColumnWriter(w), Column::I64(values) | Column::Time(values)) => {
            w.write_batch(values, None, None)
        }
        (W::Int64ColumnWriter(w), Column::U64(values)) => {
            let values: Vec<i64> = values.iter().map(|v| v.cast_signed()).collect();
            w.write_batch(&values, None, None)
        }
        (W::FloatColumnWriter(w), Column::F32(values)) => w.write_batch(values, None, None),
        (W::DoubleColumnWriter(w), Column::F64(values)) => w.write_batch(values, None, None),
        (W::ByteArrayColumnWriter(w), Column::Words(words)) => {
            let words: Vec<ByteArray> = words.iter().map(|w| ByteArray::from(w.as_str())).collect();
            w.write_batch(&words, None, None)
        }
        (W::ByteArrayColumnWriter(w), Column::Bytes(values)) => {
            let values: Vec<ByteArray> =
                values.iter().map(|v| ByteArray::from(v.clone())).collect();
            w.write_batch(&values, None, None)
        }
        _ => unreachable!("the schema was built from these columns"),
    }
}

/// Reads a table and the file's metadata.
pub(crate) fn read(bytes: Bytes) -> Result<(Table, Notes)> {
    read_file(bytes)
}

/// Reads a file. Refuses nested columns and unsupported types, naming the column.
pub(super) fn read_file<R: ChunkReader + 'static>(file: R) -> Result<(Table, Notes)> {
    let malformed = |e: ParquetError| Error::invalid(format!("is not Parquet: {e}"));
    let reader = SerializedFileReader::new(file).map_err(malformed)?;
    let head = reader.metadata().file_metadata();
    let rows = usize::try_from(head.num_rows()).unwrap_or(0);
    let schema = head.schema_descr();
    check(rows, schema.num_columns())?;
    let mut columns = Vec::with_capacity(schema.num_columns());
    for (at, column) in schema.columns().iter().enumerate() {
        let name = column.path().string();
        let refused = |why: &str| Error::invalid(format!("the column '{}' {why}", short(&name)));
        if column.max_rep_level() > 0 || column.path().parts().len() > 1 {
            return Err(refused("is nested"));
        }
        let mut read =
            ReadColumn::of(column).ok_or_else(|| refused("has a type that is not supported"))?;
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group).map_err(malformed)?;
            let records = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            let source = group.get_column_reader(at).map_err(malformed)?;
            read.add(source, records)
                .map_err(|e| malformed(e).context(format_args!("the column '{}'", short(&name))))?;
        }
        let whole = read.column;
        if whole.len() != rows {
            return Err(refused("does not have as many rows as the table"));
        }
        columns.push((name, whole));
    }

    let notes = head.key_value_metadata().into_iter().flatten();
    let notes = notes
        .map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()))
        .collect();
    Ok((Table { columns, rows }, notes))
}

/// A column while it is read.
struct ReadColumn {
    column: Column,
    kind: ValueType,
    /// Whether a value may be missing.
    optional: bool,
}

/// The meaning of physical values.
#[derive(Clone, Copy)]
enum ValueType {
    AsIs,
    /// A number, to be multiplied by this.
    Scaled(f64),
    /// Time in units of so many nanoseconds.
    Time(i64),
    Half,
    Unsigned,
}

/// A physical value; `None` if it is missing.
enum PhysicalValue<'v> {
    Missing,
    Number(f64),
    Whole(i64),
    Bytes(&'v [u8]),
}

impl ReadColumn {
    fn of(column: &ColumnDescriptor) -> Option<Self> {
        let logical = column.logical_type_ref();
        let kind = match logical {
            Some(LogicalType::Decimal(decimal)) => ValueType::Scaled(10_f64.powi(-decimal.scale)),
            Some(LogicalType::Timestamp(time)) => ValueType::Time(match time.unit {
                TimeUnit::MILLIS => 1_000_000,
                TimeUnit::MICROS => 1_000,
                TimeUnit::NANOS => 1,
            }),
            Some(LogicalType::Float16) => ValueType::Half,
            Some(LogicalType::Integer(whole)) if !whole.is_signed => ValueType::Unsigned,
            _ => ValueType::AsIs,
        };

        let is_text = matches!(
            logical,
            Some(LogicalType::String | LogicalType::Enum | LogicalType::Json)
        ) || column.converted_type() == ConvertedType::UTF8;
        let empty = match (column.physical_type(), kind) {
            (Physical::INT32 | Physical::INT64, ValueType::Scaled(_)) => Column::F64(Vec::new()),
            (Physical::INT64, ValueType::Time(_)) => Column::Time(Vec::new()),
            (Physical::BOOLEAN, _) => Column::Bool(Vec::new()),
            (Physical::INT32, ValueType::Unsigned) => Column::I64(Vec::new()),
            (Physical::INT64, ValueType::Unsigned) => Column::U64(Vec::new()),
            (Physical::INT32, _) => Column::I32(Vec::new()),
            (Physical::INT64, _) => Column::I64(Vec::new()),
            (Physical::FLOAT, _) => Column::F32(Vec::new()),
            (Physical::DOUBLE, _) => Column::F64(Vec::new()),
            (Physical::BYTE_ARRAY, ValueType::AsIs) if is_text => Column::Words(Vec::new()),
            (Physical::BYTE_ARRAY, ValueType::AsIs) => Column::Bytes(Vec::new()),
            (Physical::FIXED_LEN_BYTE_ARRAY, ValueType::Half) => Column::F32(Vec::new()),
            _ => return None,
        };

        Some(Self {
            column: empty,
            kind,
            optional: column.max_def_level() > 0,
        })
    }

    fn add(&mut self, source: ColumnReader, records: usize) -> Result<(), ParquetError> {
        use ColumnReader as R;
        match source {
            R::BoolColumnReader(r) => self.take(r, records, |v| PhysicalValue::Whole((*v).into())),
            R::Int32ColumnReader(r) => self.take(r, records, |v| PhysicalValue::Whole((*v).into())),
            R::Int64ColumnReader(r) => self.take(r, records, |v| PhysicalValue::Whole(*v)),
            R::FloatColumnReader(r) => {
                self.take(r, records, |v| PhysicalValue::Number((*v).into()))
            }
            R::DoubleColumnReader(r) => self.take(r, records, |v| PhysicalValue::Number(*v)),
            R::ByteArrayColumnReader(r) => {
                self.take(r, records, |v| PhysicalValue::Bytes(v.data()))
            }
            R::FixedLenByteArrayColumnReader(r) => {
                self.take(r, records, |v| PhysicalValue::Bytes(v.data()))
            }
            R::Int96ColumnReader(_) => {
                Err(ParquetError::General("INT96 is not supported".to_owned()))
            }
        }
    }

    /// Reads every record of a row group.
    fn take<D: DataType>(
        &mut self,
        mut reader: ColumnReaderImpl<D>,
        records: usize,
        value: impl for<'v> Fn(&'v D::T) -> PhysicalValue<'v>,
    ) -> Result<(), ParquetError> {
        let (mut values, mut levels, mut left) = (Vec::new(), Vec::new(), records);
        while left > 0 {
            let (read, _, _) = reader.read_records(left, Some(&mut levels), None, &mut values)?;
            if read == 0 {
                break;
            }
            left -= read;
        }

        if !self.optional {
            values.iter().try_for_each(|v| self.push(&value(v)))
        } else {
            let mut values = values.iter();
            levels.iter().try_for_each(|level| match *level {
                0 => self.push(&PhysicalValue::Missing),
                _ => values.next().map_or(Ok(()), |v| self.push(&value(v))),
            })
        }
    }

    fn push(&mut self, value: &PhysicalValue<'_>) -> Result<(), ParquetError> {
        if let (
            PhysicalValue::Missing,
            Column::Bool(_) | Column::I32(_) | Column::I64(_) | Column::U64(_) | Column::Time(_),
        ) = (value, &self.column)
        {
            // Integers have no value that means missing.
            let column = &self.column;
            let numbers = (0..column.len()).filter_map(|row| column.cell(row));
            let numbers = numbers.map(|cell| match cell {
                Cell::Whole(v) => v as f64,
                Cell::Unsigned(v) => v as f64,
                _ => f64::NAN,
            });
            self.column = Column::F64(numbers.collect());
        }

        match (&mut self.column, value) {
            (Column::Bool(all), PhysicalValue::Whole(v)) => all.push(*v != 0),
            (Column::I32(all), PhysicalValue::Whole(v)) => all.push(*v as i32),
            // Unsigned integers of 32 bits are stored as signed ones with the same
            // bits.
            (Column::I64(all), PhysicalValue::Whole(v))
                if matches!(self.kind, ValueType::Unsigned) =>
            {
                all.push((*v as u32).into())
            }
            (Column::I64(all), PhysicalValue::Whole(v)) => all.push(*v),
            (Column::U64(all), PhysicalValue::Whole(v)) => all.push(v.cast_unsigned()),
            (Column::Time(all), PhysicalValue::Whole(v)) => all.push(micros(*v, self.kind)),
            (Column::F64(all), PhysicalValue::Whole(v)) => all.push(match self.kind {
                ValueType::Scaled(by) => *v as f64 * by,
                ValueType::Unsigned => *v as u64 as f64,
                ValueType::Time(_) => micros(*v, self.kind) as f64,
                ValueType::AsIs | ValueType::Half => *v as f64,
            }),
            (Column::F64(all), PhysicalValue::Number(v)) => all.push(*v),
            (Column::F64(all), PhysicalValue::Missing) => all.push(f64::NAN),
            (Column::F32(all), PhysicalValue::Number(v)) => all.push(*v as f32),
            (Column::F32(all), PhysicalValue::Bytes([low, high])) => {
                all.push(f16::from_le_bytes([*low, *high]).into())
            }
            (Column::F32(all), PhysicalValue::Missing) => all.push(f32::NAN),
            (Column::Words(all), PhysicalValue::Bytes(bytes)) => match std::str::from_utf8(bytes) {
                Ok(word) => all.push(word.to_owned()),
                Err(error) => {
                    return Err(ParquetError::General(format!(
                        "a text is not UTF-8: {error}"
                    )));
                }
            },
            (Column::Words(all), PhysicalValue::Missing) => all.push(String::new()),
            (Column::Bytes(all), PhysicalValue::Bytes(bytes)) => {
                all.push(Bytes::copy_from_slice(bytes))
            }
            (Column::Bytes(all), PhysicalValue::Missing) => all.push(Bytes::new()),
            _ => {
                return Err(ParquetError::General(
                    "a value is not of its column's type".to_owned(),
                ));
            }
        }

        Ok(())
    }
}

/// A time in microseconds.
fn micros(value: i64, kind: ValueType) -> i64 {
    match kind {
        ValueType::Time(ns) if ns >= 1_000 => value.saturating_mul(ns / 1_000),
        ValueType::Time(ns) => value.div_euclid(1_000 / ns),
        _ => value,
    }
}
