//! Tests of how the rows of two training runs are compared.

use super::super::tests::{baseline, even, holes, numbers, words};
use super::*;
use crate::observe::drift::series::ColumnSeries;

/// Checks what is told of a column against version 3, and whether it looks like a fault.
fn check(own: ColumnSeries, before: ColumnSeries, expected: Option<(bool, &str)>) {
    let (own, before) = (baseline(&[("c", own)]), baseline(&[("c", before)]));
    let told = rows_differences(&own, (&before, 3));
    let first = told.first().map(|told| (told.is_suspect, &*told.text));
    match (first, expected) {
        (Some((is_suspect, text)), Some((expected, begins))) => {
            assert!(is_suspect == expected && text.starts_with(begins), "{text}");
            assert_eq!(told.len(), 1, "{told:?}");
        }
        (found, expected) => assert_eq!(found, expected),
    }
}

fn suspect(text: &str) -> Option<(bool, &str)> {
    Some((true, text))
}

fn plain(text: &str) -> Option<(bool, &str)> {
    Some((false, text))
}

fn usual(seed: u64) -> ColumnSeries {
    numbers(seed, |v| 52.0 + 4.0 * v)
}

#[test]
fn another_unit_looks_like_a_fault_and_another_level_does_not() {
    check(usual(1), usual(2), None);
    let unit = "c is 1,000 times what it was in version 3 (typical value 5";
    check(numbers(1, |v| 52e3 + 4e3 * v), usual(2), suspect(unit));
    let sixty = "c is 60 times what it was in version 3";
    check(numbers(1, |v| 3120.0 + 240.0 * v), usual(2), suspect(sixty));
    let tenth = "c is 0.1 times what it was in version 3";
    check(numbers(1, |v| 5.2 + 0.4 * v), usual(2), suspect(tenth));
    // A level ten times as high with the same spread is no other unit.
    let level = "c is 10 times what it was in version 3";
    check(numbers(1, |v| 520.0 + 4.0 * v), usual(2), plain(level));
    let other = "c has other values than in version 3";
    check(numbers(1, |v| 55.0 + 4.0 * v), usual(2), plain(other));
    // A median near zero has no factor.
    let near = "c has other values than in version 3";
    check(numbers(1, |v| 0.5 + v), numbers(2, |v| v), plain(near));
}

#[test]
fn values_that_are_gone_or_all_the_same_look_like_a_fault() {
    let gone = "c is missing in all rows, in version 3 it was in 1.";
    check(holes(1, 1.0), holes(2, 0.02), suspect(gone));
    let more = "c is missing in ";
    check(holes(1, 0.9), holes(2, 0.01), suspect(more));
    check(holes(1, 0.3), holes(2, 0.01), suspect(more));
    check(holes(1, 0.01), holes(2, 0.3), plain(more));
    check(holes(1, 0.02), holes(2, 0.02), None);
    let infinite = "c is infinite in all rows, in version 3 it was not";
    check(numbers(1, |_| f64::INFINITY), usual(2), suspect(infinite));

    let one = "c has one value in all rows, in version 3 it had several";
    check(numbers(1, |_| 52.0), usual(2), suspect(one));
    check(words(1, |_| "north"), words(2, even), suspect(one));
    check(numbers(1, |_| 52.0), numbers(2, |_| 52.0), None);
    // One other value in 5,000 rows may be absent from 5,000 others.
    let rare = |n: f64| ["north", "south"][usize::from(n < 0.000_4)];
    check(words(1, |_| "north"), words(2, rare), None);
}

#[test]
fn another_type_and_another_coding_look_like_a_fault() {
    let text = "c is text, in version 3 it was numbers";
    check(words(1, even), usual(2), suspect(text));
    let numbers = "c is numbers, in version 3 it was text";
    check(usual(1), words(2, even), suspect(numbers));
    let coded = |n: f64| ["N", "S"][usize::from(n < 0.5)];
    let unknown = "c has values that version 3 never had in 100 % of the rows";
    check(words(1, coded), words(2, even), suspect(unknown));
    let some = |n: f64| ["north", "south", "west"][(3.0 * n) as usize];
    let mix = "c has another mix of values than in version 3";
    check(words(1, some), words(2, even), plain(mix));
}

#[test]
fn what_looks_like_a_fault_comes_first_and_answers_are_told_in_another_unit_only() {
    let own = [
        ("a", numbers(1, |v| 55.0 + 4.0 * v)),
        ("b", words(3, |_| "north")),
    ];
    let before = [("a", usual(2)), ("b", words(4, even))];
    let (mut own, mut before) = (baseline(&own), baseline(&before));
    let answers = |of: f64| baseline(&[("value", numbers(5, |v| of * (52.0 + 4.0 * v)))]).inputs;
    let told = |own: &Baseline, before: &Baseline| -> Vec<String> {
        let told = rows_differences(own, (before, 3)).into_iter();
        told.map(|told| told.text).collect()
    };
    (own.outputs, before.outputs) = (answers(1.1), answers(1.0));
    let both = told(&own, &before);
    assert!(
        both.len() == 2 && both[0].starts_with("b has one") && both[1].starts_with("a has other"),
        "{both:?}"
    );
    own.outputs = answers(100.0);
    let all = told(&own, &before);
    assert!(
        all.len() == 3
            && all
                .iter()
                .any(|text| text.starts_with("value is 100 times")),
        "{all:?}"
    );
}

#[test]
fn parts_of_the_rows_are_compared_where_all_rows_show_nothing() {
    let part = |name: &str, values: ColumnSeries| BaselinePart {
        slice: "region".to_owned(),
        part: name.to_owned(),
        rows: 5_000,
        inputs: baseline(&[("income", values), ("region", words(9, |_| "north"))]).inputs,
        outputs: Vec::new(),
        loss: None,
    };
    let whole = |seed| baseline(&[("income", usual(seed)), ("region", words(seed, even))]);
    let (mut own, mut before) = (whole(1), whole(2));
    before.parts = vec![part("north", usual(4)), part("south", usual(5))];
    own.parts = vec![
        part("north", numbers(6, |v| 52e3 + 4e3 * v)),
        part("west", usual(7)),
    ];
    let told = rows_differences(&own, (&before, 3));
    let unit = "income where region is north is 1,000 times what it was in version 3";
    assert!(
        told.len() == 1 && told[0].is_suspect && told[0].text.starts_with(unit),
        "{told:?}"
    );

    // All rows have other values, and only the part shows why.
    own.inputs = baseline(&[("income", numbers(8, |v| 58.0 + 4.0 * v))]).inputs;
    let told = rows_differences(&own, (&before, 3));
    assert!(
        told.len() == 2 && told[0].text.starts_with(unit) && !told[1].is_suspect,
        "{told:?}"
    );

    // All rows say it already.
    own.inputs = baseline(&[("income", numbers(8, |v| 52e3 + 4e3 * v))]).inputs;
    let told = rows_differences(&own, (&before, 3));
    assert!(
        told.len() == 1 && told[0].text.starts_with("income is 1,000 times"),
        "{told:?}"
    );
}
