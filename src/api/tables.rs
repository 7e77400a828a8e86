//! Rows of a table to the tensors of a model: cells by the names of their columns, from JSON and CSV. Pure.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result, short};
use crate::core::model::Signature;
use crate::core::model::columns::{InputColumns, InputWidth};
use crate::core::tensor::json::document::Json;
use crate::core::tensor::{DType, NamedTensors, Strings, Tensor};
use half::{bf16, f16};

/// One cell of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TableCell<'a> {
    Json(Json<'a>),
    /// A cell of CSV.
    Text(&'a str),
    /// A value of an example.
    Float(f32),
    Integer(i64),
    Bytes(&'a [u8]),
}

/// Collects the rows of a table.
pub(crate) struct TableReader<'s> {
    signature: &'s Signature,
    columns: &'s InputColumns,
    /// The elements of each input, row by row.
    gathered: Vec<GatheredInput>,
    rows: usize,
}

/// The elements of one input so far.
enum GatheredInput {
    Fixed(Vec<u8>),
    Words(Vec<Vec<u8>>),
}

/// The cells of one row, by their columns.
pub(crate) struct TableRow<'a> {
    cells: Vec<Option<TableCell<'a>>>,
}

impl<'a> TableRow<'a> {
    /// Puts a cell into a column. Refuses a second one.
    pub(crate) fn put(
        &mut self,
        reader: &TableReader<'_>,
        at: usize,
        cell: TableCell<'a>,
    ) -> Result<()> {
        let place = self.cells.get_mut(at);
        let place = place.ok_or_else(|| Error::internal("a column is beyond the last one"))?;
        match place.replace(cell) {
            None => Ok(()),
            Some(_) => Err(Error::invalid(format!(
                "{} has the column '{}' twice",
                reader.row_name(),
                reader.columns.name(at)
            ))),
        }
    }
}

impl<'s> TableReader<'s> {
    /// Starts without rows. Refuses a model that no table can fill.
    pub(crate) fn new(signature: &'s Signature, columns: &'s InputColumns) -> Result<Self> {
        columns.check_fillable()?;
        let gathered = columns.inputs().iter().map(|input| match input.dtype {
            DType::String => GatheredInput::Words(Vec::new()),
            _ => GatheredInput::Fixed(Vec::new()),
        });
        Ok(Self {
            signature,
            columns,
            gathered: gathered.collect(),
            rows: 0,
        })
    }

    /// An empty row.
    pub(crate) fn row<'a>(&self) -> TableRow<'a> {
        TableRow {
            cells: vec![None; self.columns.len()],
        }
    }

    /// Reads a row that is an object: a cell for each column, by its name.
    pub(crate) fn push_object(&mut self, object: Json<'_>) -> Result<()> {
        let mut row = self.row();
        for member in object.object(&self.row_name())? {
            let (name, value) = member?;
            let at = self.column(&name).map_err(|e| e.context(self.row_name()))?;
            row.put(self, at, TableCell::Json(value))?;
        }
        self.push(row)
    }

    /// Puts the values of a feature into a row: that of a column, or those of a whole input. A feature that the
    /// model does not take is left out.
    pub(crate) fn put_feature<'a>(
        &self,
        row: &mut TableRow<'a>,
        name: &str,
        values: &[TableCell<'a>],
    ) -> Result<()> {
        let inputs = self.signature.inputs.iter().zip(self.columns.inputs());
        let whole = inputs.clone().find(|(spec, _)| spec.name == name);
        let places = match (self.columns.find(name), whole) {
            (_, Some((_, input))) => input.first..input.first + input.count,
            (Some(at), None) => at..at + 1,
            (None, None) => return Ok(()),
        };
        if places.len() != values.len() {
            return Err(Error::invalid(format!(
                "{}: feature '{}' has {} values; the model takes {}",
                self.row_name(),
                short(name),
                values.len(),
                places.len()
            )));
        }
        for (at, value) in places.zip(values) {
            row.put(self, at, *value)?;
        }
        Ok(())
    }

    /// Finds a column by its name.
    pub(crate) fn column(&self, name: &str) -> Result<usize> {
        self.columns
            .find(name)
            .ok_or_else(|| self.columns.unknown(name))
    }

    /// What errors call the next row.
    pub(crate) fn row_name(&self) -> String {
        format!("row {}", self.rows)
    }

    /// Adds a row. Refuses one without a cell for each column.
    pub(crate) fn push(&mut self, row: TableRow<'_>) -> Result<()> {
        let missing = row.cells.iter().enumerate();
        let missing: Vec<usize> = missing
            .filter_map(|(at, cell)| cell.is_none().then_some(at))
            .collect();
        if !missing.is_empty() {
            return Err(self.columns.missing(&self.row_name(), &missing));
        }

        for (input, gathered) in self.columns.inputs().iter().zip(&mut self.gathered) {
            let own = input.first..input.first + input.count;
            for (at, cell) in own.clone().zip(row.cells[own].iter().flatten()) {
                let added = gathered.add(input.dtype, *cell);
                added.map_err(|e| {
                    let column = self.columns.name(at);
                    e.context(format_args!("row {}, column '{column}'", self.rows))
                })?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Builds the tensors. Refuses a table without rows.
    pub(crate) fn finish(self) -> Result<NamedTensors> {
        if self.rows == 0 {
            return Err(Error::invalid("the table has no rows"));
        }
        let inputs = self.columns.inputs().iter().zip(self.gathered);
        let specs = self.signature.inputs.iter();
        specs
            .zip(inputs)
            .map(|(spec, (input, gathered))| {
                let tensor =
                    gathered.tensor(input, spec.shape.as_ref().map_or(1, Vec::len), self.rows);
                Ok((spec.name.clone(), tensor?))
            })
            .collect()
    }
}

impl GatheredInput {
    fn add(&mut self, dtype: DType, cell: TableCell<'_>) -> Result<()> {
        match self {
            Self::Words(words) => {
                words.push(word(cell)?);
                Ok(())
            }
            Self::Fixed(bytes) => number(bytes, dtype, cell),
        }
    }

    fn tensor(self, input: &InputWidth, rank: usize, rows: usize) -> Result<Tensor> {
        let mut shape = vec![rows];
        if rank > 1 {
            shape.extend(&input.inner);
        }
        match self {
            Self::Fixed(bytes) => Tensor::fixed(input.dtype, shape, bytes.into()),
            Self::Words(words) => Tensor::strings(shape, Strings::from_parts(words)?),
        }
    }
}

/// Reads a word. A missing one is empty.
fn word(cell: TableCell<'_>) -> Result<Vec<u8>> {
    match cell {
        TableCell::Text(text) => Ok(text.as_bytes().to_vec()),
        TableCell::Bytes(bytes) => Ok(bytes.to_vec()),
        TableCell::Float(_) | TableCell::Integer(_) => {
            Err(Error::invalid("the value must be a string"))
        }
        TableCell::Json(value) if matches!(value.text(), "null" | "NaN") => Ok(Vec::new()),
        TableCell::Json(value) => Ok(value.string("the value")?.into_owned().into_bytes()),
    }
}

/// What stands for a missing value in CSV.
const MISSING: [&str; 8] = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"];

/// Appends a number. A missing one is NaN, and refused where the datatype has none. A truth value is 0
/// or 1, and a float without a fraction is an integer: tables with missing values make both.
fn number(bytes: &mut Vec<u8>, dtype: DType, cell: TableCell<'_>) -> Result<()> {
    let (text, is_missing) = match cell {
        TableCell::Float(value) => return of_float(bytes, dtype, value),
        TableCell::Integer(value) => return of_integer(bytes, dtype, value),
        TableCell::Bytes(_) => {
            return Err(Error::invalid(format!(
                "a string is not a valid {dtype} value"
            )));
        }
        TableCell::Json(value) => (value.text(), matches!(value.text(), "null" | "NaN")),
        TableCell::Text(text) => (text, MISSING.contains(&text)),
    };
    let text = match text {
        "true" | "True" => "1",
        "false" | "False" => "0",
        "Infinity" => "inf",
        "-Infinity" => "-inf",
        text => text,
    };

    if is_missing {
        return missing(bytes, dtype).ok_or_else(|| {
            Error::invalid(format!(
                "the value is missing, and {dtype} has no missing value"
            ))
        });
    }

    let unfit = || Error::invalid(format!("{} is not a valid {dtype} value", short(text)));
    let is_quoted = text.starts_with('"');
    let float = || float(text).filter(|_| !is_quoted).ok_or_else(unfit);
    match dtype {
        // Rounded once, from the text.
        DType::F32 => {
            let wide = float()?;
            let value: f32 = text.parse().map_err(|_| unfit())?;
            if value.is_infinite() && wide.is_finite() {
                return Err(unfit());
            }
            bytes.extend(value.to_le_bytes());
        }
        DType::F64 => bytes.extend(float()?.to_le_bytes()),
        DType::F16 => bytes.extend(f16::from_f64(float()?).to_le_bytes()),
        DType::BF16 => bytes.extend(bf16::from_f64(float()?).to_le_bytes()),
        _ => {
            let whole = whole(text).filter(|_| !is_quoted).ok_or_else(unfit)?;
            integer(bytes, dtype, whole).ok_or_else(unfit)?;
        }
    }
    Ok(())
}

/// Appends a float as another datatype, which must hold it.
fn of_float(bytes: &mut Vec<u8>, dtype: DType, value: f32) -> Result<()> {
    match dtype {
        DType::F32 => bytes.extend(value.to_le_bytes()),
        DType::F64 => bytes.extend(f64::from(value).to_le_bytes()),
        DType::F16 => bytes.extend(f16::from_f32(value).to_le_bytes()),
        DType::BF16 => bytes.extend(bf16::from_f32(value).to_le_bytes()),
        _ => {
            let is_whole = value.fract() == 0.0 && value.abs() <= 16_777_216.0;
            let whole = is_whole.then_some(value as i128);
            whole
                .and_then(|whole| integer(bytes, dtype, whole))
                .ok_or_else(|| Error::invalid(format!("{value} is not a valid {dtype} value")))?;
        }
    }
    Ok(())
}

/// Appends an integer as another datatype. Floats are rounded.
fn of_integer(bytes: &mut Vec<u8>, dtype: DType, value: i64) -> Result<()> {
    match dtype {
        DType::F32 => bytes.extend((value as f32).to_le_bytes()),
        DType::F64 => bytes.extend((value as f64).to_le_bytes()),
        DType::F16 => bytes.extend(f16::from_f64(value as f64).to_le_bytes()),
        DType::BF16 => bytes.extend(bf16::from_f64(value as f64).to_le_bytes()),
        _ => integer(bytes, dtype, value.into())
            .ok_or_else(|| Error::invalid(format!("{value} is not a valid {dtype} value")))?,
    }
    Ok(())
}

/// Appends what stands for a missing number; none if the datatype has nothing for it.
fn missing(bytes: &mut Vec<u8>, dtype: DType) -> Option<()> {
    match dtype {
        DType::F32 => bytes.extend(f32::NAN.to_le_bytes()),
        DType::F64 => bytes.extend(f64::NAN.to_le_bytes()),
        DType::F16 => bytes.extend(f16::NAN.to_le_bytes()),
        DType::BF16 => bytes.extend(bf16::NAN.to_le_bytes()),
        _ => return None,
    }
    Some(())
}

/// A float. Text of a finite number that is beyond all floats is none.
fn float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let says_infinite = text.contains(['i', 'I']);
    (value.is_finite() || says_infinite).then_some(value)
}

/// A whole number, also one that is written as a float.
fn whole(text: &str) -> Option<i128> {
    let plain: Option<i128> = text.parse().ok();
    let as_float = || {
        let value = text.parse::<f64>().ok()?;
        let is_whole = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
        is_whole.then_some(value as i128)
    };
    plain.or_else(as_float)
}

/// Appends an integer, or a truth value; none if the datatype does not hold it.
fn integer(bytes: &mut Vec<u8>, dtype: DType, value: i128) -> Option<()> {
    macro_rules! extend {
        ($t:ty) => {
            bytes.extend(<$t>::try_from(value).ok()?.to_le_bytes())
        };
    }
    match dtype {
        DType::Bool => bytes.push(u8::try_from(value).ok().filter(|v| *v <= 1)?),
        DType::U8 => extend!(u8),
        DType::U16 => extend!(u16),
        DType::U32 => extend!(u32),
        DType::U64 => extend!(u64),
        DType::I8 => extend!(i8),
        DType::I16 => extend!(i16),
        DType::I32 => extend!(i32),
        DType::I64 => extend!(i64),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 | DType::String => return None,
    }
    Some(())
}
