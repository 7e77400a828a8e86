//! Cells of a table, from JSON, CSV and examples, as elements of each datatype. Knows no columns.

use crate::core::error::{Error, Result, short};
use crate::core::moment;
use crate::core::tensor::DType;
use crate::core::tensor::json::document::Json;
use crate::core::tensor::json::elements::{base64_of, is_base64};
use half::{bf16, f16};
use std::borrow::Cow;

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

/// Appends a cell as an element of a datatype, in the raw wire form.
pub(super) fn append(raw: &mut Vec<u8>, dtype: DType, cell: TableCell<'_>) -> Result<()> {
    match dtype {
        DType::String => {
            let word = word(cell)?;
            let length =
                u32::try_from(word.len()).map_err(|_| Error::invalid("a string is over 4 GiB"))?;
            raw.extend_from_slice(&length.to_le_bytes());
            raw.extend_from_slice(&word);
            Ok(())
        }
        dtype => number(raw, dtype, cell),
    }
}

/// Reads a word. A missing one is empty.
fn word(cell: TableCell<'_>) -> Result<Cow<'_, [u8]>> {
    match cell {
        TableCell::Text(text) => Ok(text.as_bytes().into()),
        TableCell::Bytes(bytes) => Ok(bytes.into()),
        TableCell::Float(_) | TableCell::Integer(_) => {
            Err(Error::invalid("the value must be a string"))
        }
        TableCell::Json(value) if matches!(value.text(), "null" | "NaN") => Ok(Cow::default()),
        TableCell::Json(value) if is_base64(value) => Ok(base64_of(value)?.into()),
        TableCell::Json(value) => Ok(match value.string("the value")? {
            Cow::Borrowed(text) => text.as_bytes().into(),
            Cow::Owned(text) => text.into_bytes().into(),
        }),
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
        TableCell::Json(value) if is_base64(value) => {
            return Err(Error::invalid(format!(
                "a string in base64 is not a valid {dtype} value"
            )));
        }
        TableCell::Json(value) => (value.text(), matches!(value.text(), "null" | "NaN")),
        // Tables have spaces after their commas.
        TableCell::Text(text) => (text.trim(), MISSING.contains(&text.trim())),
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

    if let (DType::F64, Some(seconds)) = (dtype, moment::seconds(text.trim_matches('"'))) {
        bytes.extend(seconds.to_le_bytes());
        return Ok(());
    }
    let unfit = || Error::invalid(format!("{} is not a valid {dtype} value", short(text)));
    let is_quoted = text.starts_with('"');
    let float = || float(text).filter(|_| !is_quoted).ok_or_else(unfit);
    match dtype {
        // Rounded once, from the text.
        DType::F32 => {
            let value: Option<f32> = text.parse().ok().filter(|_| !is_quoted);
            let fits = |value: &f32| value.is_finite() || !is_finite(text);
            bytes.extend(value.filter(fits).ok_or_else(unfit)?.to_le_bytes());
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
    (value.is_finite() || !is_finite(text)).then_some(value)
}

/// Whether the text of a number says a finite one.
fn is_finite(text: &str) -> bool {
    !text.contains(['i', 'I', 'n', 'N'])
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
