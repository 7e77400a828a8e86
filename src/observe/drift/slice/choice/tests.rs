//! Tests of `choice`.

use super::*;
use crate::core::hash::SplitMix;
use crate::observe::drift::profile::profile;
use crate::observe::drift::series::ColumnSeries;

/// A column of so many categories, each as often.
fn words(name: &str, categories: usize, rows: usize) -> BaselineColumn {
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_key(|row| SplitMix(*row as u64).next_u64());
    let word = |row: usize| format!("w{}", row % categories);
    profile(
        name,
        &ColumnSeries::Words(order.into_iter().map(word).collect()),
    )
}

fn chosen(choice: &SliceChoice, columns: &[BaselineColumn]) -> Vec<String> {
    let found = choice.find(columns);
    found.iter().map(|at| columns[*at].name.clone()).collect()
}

#[test]
fn categories_with_parts_of_enough_rows_are_chosen_the_fewest_first() {
    let numbers = ColumnSeries::Numbers((0..4_000).map(|v| f64::from(v * 7_919 % 4_000)).collect());
    let code = |row: u64| (SplitMix(row).next_u64() % 3) as i64;
    let codes = ColumnSeries::Whole((0..4_000).map(code).collect());
    let columns = [
        words("carrier", 16, 4_000),
        profile("price", &numbers),
        words("origin", 2, 4_000),
        words("airport", 100, 4_000),
        words("one", 1, 4_000),
        profile("class", &codes),
    ];
    assert_eq!(chosen(&SliceChoice::Fitting, &columns), ["origin", "class"]);
}

#[test]
fn the_most_important_ones_are_chosen_first() {
    let mut columns = [
        words("a", 2, 4_000),
        words("b", 4, 4_000),
        words("c", 8, 4_000),
    ];
    columns[2].importance = Some(0.7);
    columns[1].importance = Some(0.2);
    assert_eq!(chosen(&SliceChoice::Fitting, &columns), ["c", "b"]);
}

#[test]
fn parts_of_few_rows_are_not_worth_a_slice() {
    let rows = 2 * PART_ROWS_MIN as usize;
    assert_eq!(chosen(&SliceChoice::Fitting, &[words("a", 2, rows)]), ["a"]);
    assert!(chosen(&SliceChoice::Fitting, &[words("a", 2, rows - 2)]).is_empty());
}

#[test]
fn a_calendar_column_is_not_chosen_but_may_be_named() {
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let series = (0..7_000)
        .map(|row| days[row / 10 % 7].to_owned())
        .collect();
    let columns = [profile("weekday", &ColumnSeries::Words(series))];
    assert!(chosen(&SliceChoice::Fitting, &columns).is_empty());
    let named = SliceChoice::Named(vec!["weekday".to_owned()]);
    assert_eq!(chosen(&named, &columns), ["weekday"]);
}

#[test]
fn named_slices_must_be_inputs_and_few() {
    let named = |names: &[&str]| SliceChoice::Named(names.iter().map(|n| (*n).into()).collect());
    let inputs = ["a", "b", "c", "d", "e"];
    named(&["a", "b", "c", "d"]).check(&inputs).expect("four");
    let refused = |choice: SliceChoice| choice.check(&inputs).expect_err("refused").to_string();
    let many = refused(named(&inputs));
    assert!(
        many.contains("5 slices are too many; a baseline has at most 4"),
        "{many}"
    );
    let unknown = refused(named(&["y"]));
    assert!(
        unknown.contains("the slice 'y' must be an input column"),
        "{unknown}"
    );
}
