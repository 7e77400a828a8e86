//! Whether a baseline belongs to a model: its columns are those of the model, of the same kinds of values.

use super::baseline::{Baseline, ValueDistribution};
use super::layout::{ColumnPlace, Side};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::tensor::DType;

/// Compares a baseline with the columns of a model: each of its columns must be one of the model's,
/// with values of a suitable type.
pub(crate) fn check(baseline: &Baseline, places: &[ColumnPlace]) -> Result<()> {
    for (side, columns) in [
        (Side::Input, &baseline.inputs),
        (Side::Output, &baseline.outputs),
    ] {
        for column in columns {
            let name = short(&column.name);
            let place = places.iter().find(|p| p.side == side && p.name == column.name).ok_or_else(|| {
                let has: Vec<&str> = places.iter().filter(|p| p.side == side).map(|p| p.name.as_str()).collect();
                Error::precondition(format!(
                    "the baseline belongs to another model: it has the column '{name}'; this model has {}",
                    short(&has.join(", "))
                ))
            })?;
            let fits = match column.values {
                ValueDistribution::Numbers(_) => place.dtype != DType::String,
                ValueDistribution::Words(_) => !matches!(
                    place.dtype,
                    DType::F16 | DType::BF16 | DType::F32 | DType::F64
                ),
            };
            if !fits {
                return Err(Error::precondition(format!(
                    "the baseline's column '{name}' has another type than the model's, which is {}",
                    place.dtype
                )));
            }
        }
    }

    Ok(())
}
