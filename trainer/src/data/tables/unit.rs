//! The unit of a time that is a number, found from the least and the largest value of a table's column.

use super::refused;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::functions_aggregate::expr_fn::{max, min};
use datafusion::prelude::{cast, col};
use ortus::core::error::Result;
use ortus::storage::table::text::scan::UnixUnit;

/// Returns how many of the unit of a numeric column are a second; 1 if its numbers are not in the range
/// of any unit.
pub(in super::super) async fn per_second(frame: &DataFrame, name: &str) -> Result<f64> {
    let number = || cast(col(Column::new_unqualified(name)), DataType::Float64);
    let extremes = vec![min(number()).alias("least"), max(number()).alias("most")];
    let frame = frame.clone().aggregate(Vec::new(), extremes);
    let batches = frame.map_err(refused)?.collect().await.map_err(refused)?;
    let value = |batch: usize, column: usize| {
        let array = batches.get(batch)?.column(column);
        array.as_primitive_opt::<Float64Type>()?.iter().next()?
    };
    let unit = value(0, 0).zip(value(0, 1));
    let unit = unit.and_then(|(least, most)| UnixUnit::of_range(least, most));
    Ok(unit.map_or(1.0, UnixUnit::per_second))
}
