//! Whether a baseline belongs to a model: its columns are those of the model, of the same kinds of values.

use super::baseline::{Baseline, BaselineColumn, ValueDistribution};
use super::layout::{ColumnPlace, Side, find_place};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::names;
use crate::core::tensor::DType;

/// Compares a baseline with the columns of a model: each of its columns must be one of the model's,
/// with values of a suitable type.
pub(crate) fn check(baseline: &Baseline, places: &[ColumnPlace]) -> Result<()> {
    check_columns(&baseline.inputs, Side::Input, places)?;
    check_columns(&baseline.outputs, Side::Output, places)?;
    for part in &baseline.parts {
        find(&part.slice, Side::Input, places)?;
        check_columns(&part.inputs, Side::Input, places)?;
        check_columns(&part.outputs, Side::Output, places)?;
    }
    let together = baseline.multivariate.iter();
    for column in together.flat_map(|together| &together.projection.columns) {
        find(&column.name, Side::Input, places)?;
    }
    Ok(())
}

fn check_columns(columns: &[BaselineColumn], side: Side, places: &[ColumnPlace]) -> Result<()> {
    for column in columns {
        let place = find(&column.name, side, places)?;
        let fits = match column.values {
            ValueDistribution::Numbers(_) => place.dtype != DType::String,
            ValueDistribution::Words(_) => !matches!(
                place.dtype,
                DType::F16 | DType::BF16 | DType::F32 | DType::F64
            ),
        };
        if !fits {
            return Err(Error::precondition(format!(
                "the baseline's column '{}' has another type than the model's, which is {}",
                short(&column.name),
                place.dtype
            )));
        }
    }
    Ok(())
}

/// Returns the place of a column of the model.
fn find<'p>(name: &str, side: Side, places: &'p [ColumnPlace]) -> Result<&'p ColumnPlace> {
    find_place(places, side, name).ok_or_else(|| {
        let of_side = places.iter().filter(|place| place.side == side);
        let has: Vec<&str> = of_side.map(|place| place.name.as_str()).collect();
        Error::precondition(format!(
            "the baseline belongs to another model: it has the column '{}'; this model has {}",
            short(name),
            names::listed(&has)
        ))
    })
}
