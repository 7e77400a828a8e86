//! A text table whole in memory: its typed columns as those of a [`Table`], which has no place for
//! missing integers, booleans and times.

#[cfg(test)]
mod tests;

use super::text::TextSource;
use super::text::decide::TextType;
use super::text::format::TextFormat;
use super::text::read::{TextReader, TextValues};
use super::text::scan::{ScannedText, scan};
use super::{Column, Table, check};
use crate::core::error::Result;
use std::sync::Arc;

/// The rows that are read at once.
const BATCH_ROWS: usize = 1 << 16;
/// From here on, FP64 does not tell whole numbers apart.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads a file. Numbers with missing values are FP64 with NaN, and so are times: seconds since 1970.
pub(super) fn read(source: TextSource, format: &TextFormat) -> Result<Table> {
    let fits = |rows: u64, columns| check(usize::try_from(rows).unwrap_or(usize::MAX), columns);
    let mut scanned = scan(&[source], format, &fits)?;
    keep_missing(&mut scanned);

    let scanned = Arc::new(scanned);
    let chosen = (0..scanned.columns.len()).collect();
    let mut reader = TextReader::new(scanned.clone(), chosen, BATCH_ROWS);
    let mut columns: Vec<Option<Column>> = vec![None; scanned.columns.len()];
    let mut rows = 0;
    while let Some(batch) = reader.next_batch()? {
        rows += batch.rows;
        for (at, part) in batch.columns.into_iter().enumerate() {
            let is_whole = scanned.columns[at].missing == 0;
            let part = column(part.values, &part.present, is_whole);
            match &mut columns[at] {
                None => columns[at] = Some(part),
                Some(whole) => drop(whole.append(&part)),
            }
        }
    }

    let named = scanned.columns.iter().zip(columns);
    let named = named.map(|(about, column)| {
        let column = column.unwrap_or(Column::F64(Vec::new()));
        (about.name.clone(), column)
    });
    Ok(Table {
        columns: named.collect(),
        rows,
    })
}

/// Keeps as words what a [`Column`] cannot hold with missing values: whole numbers that FP64 would round.
fn keep_missing(scanned: &mut ScannedText) {
    for at in 0..scanned.columns.len() {
        let column = &scanned.columns[at];
        let is_large = column
            .range
            .is_some_and(|(least, most)| least <= -EXACT || most >= EXACT);
        let is_whole = matches!(column.kind, TextType::Whole | TextType::Unsigned);
        if column.missing > 0 && is_whole && is_large {
            scanned.read_as_words(at);
        }
    }
}

fn column(values: TextValues, present: &[bool], is_whole: bool) -> Column {
    let with_missing = |number: &mut dyn FnMut(usize) -> f64| {
        let cells = present.iter().enumerate();
        let cells = cells.map(|(row, present)| if *present { number(row) } else { f64::NAN });
        Column::F64(cells.collect())
    };
    match values {
        TextValues::Missing => Column::F64(vec![f64::NAN; present.len()]),
        TextValues::Bool(all) if is_whole => Column::Bool(all),
        TextValues::Bool(all) => with_missing(&mut |row| f64::from(u8::from(all[row]))),
        TextValues::Whole(all) if is_whole => Column::I64(all),
        TextValues::Whole(all) => with_missing(&mut |row| all[row] as f64),
        TextValues::Unsigned(all) if is_whole => Column::U64(all),
        TextValues::Unsigned(all) => with_missing(&mut |row| all[row] as f64),
        TextValues::Number(all) => with_missing(&mut |row| all[row]),
        TextValues::Time(all) if is_whole => Column::Time(all),
        TextValues::Time(all) => with_missing(&mut |row| all[row] as f64 / 1e6),
        TextValues::Words(words) => Column::Words(words.iter().map(str::to_owned).collect()),
    }
}
