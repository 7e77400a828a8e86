//! Tests of `profile`.

use super::*;
use crate::core::tensor::View;
use crate::observe::drift::baseline::ValueDistribution as Held;
use crate::observe::drift::slice::choice::SliceChoice;
use crate::storage::table::text::format::TextFormat;
use std::io::Write;

/// A model that returns the sum of each row's columns.
pub(crate) struct Sum;

impl Session for Sum {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        let crate::core::tensor::ViewData::Fixed(bytes) = inputs[0].data else {
            panic!("numbers")
        };
        let values: Vec<f32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        let sums: Vec<f32> = values
            .chunks(inputs[0].shape[1])
            .map(|row| row.iter().sum())
            .collect();
        Ok(vec![Tensor::from_f32(vec![sums.len()], &sums)?])
    }
    fn provider(&self) -> &'static str {
        "test"
    }
}

/// A graph whose rows are two numbers.
fn graph() -> Graph {
    use crate::testing::graphs::{FLOAT, declare, model, node};
    let bytes = model(crate::proto::onnx::GraphProto {
        node: vec![node("ReduceSum", &["x"], "y")],
        input: vec![declare("x", FLOAT, &[-1, 2])],
        output: vec![declare("y", FLOAT, &[-1])],
        ..Default::default()
    });

    Graph::read(bytes.into()).expect("a graph")
}

fn make(csv: &str, features: &[&str], ignore: &[&str]) -> Result<Baseline> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(csv.as_bytes()).expect("written");
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let profile = Profile {
        data: file.path(),
        format: TextFormat::default(),
        features: owned(features),
        ignore: owned(ignore),
        label: None,
        task: Wish::default(),
        slices: SliceChoice::default(),
    };

    profile.make(&graph(), &mut Sum)
}

#[test]
fn a_baseline_has_the_columns_of_the_table_and_the_outputs_of_the_model() {
    let rows: String = (0..1_000)
        .map(|i| format!("{i},{},{}\n", i % 10, i % 2))
        .collect();
    let baseline = make(&format!("age,kids,bought\n{rows}"), &[], &["bought"]).expect("a baseline");
    assert_eq!(
        (baseline.rows, baseline.features.clone()),
        (1_000, vec!["age".to_owned(), "kids".to_owned()])
    );
    let names = |columns: &[crate::observe::drift::baseline::BaselineColumn]| {
        columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&baseline.inputs), names(&baseline.outputs)),
        (baseline.features.clone(), vec!["y".to_owned()])
    );
    let Held::Numbers(sum) = &baseline.outputs[0].values else {
        panic!("numbers")
    };
    assert!((sum.mean - (499.5 + 4.5)).abs() < 1e-6, "{sum:?}");
    // It reads back, and equal tables make equal baselines.
    let again = Baseline::read(&baseline.write()).expect("read back");
    assert_eq!(again, baseline);
    // Columns are in the order of the model, not of the table.
    let swapped =
        make(&format!("age,kids,bought\n{rows}"), &["kids", "age"], &[]).expect("a baseline");
    assert_eq!(swapped.inputs[0].name, "kids");
}

#[test]
fn a_table_that_does_not_fit_is_refused_with_what_to_do() {
    let refused = |csv: &str, features: &[&str], part: &str| {
        let error = make(csv, features, &[]).expect_err("must be refused");
        assert!(
            error.message.contains(part),
            "{error} does not say {part:?}"
        );
    };

    refused(
        "a,b,c\n1,2,3\n",
        &[],
        "has 2 input columns, but the table has 3; name them with --features",
    );

    refused(
        "a,b\n1,2\n",
        &["a", "z"],
        "no column 'z'; its columns are a, b",
    );

    refused("a,b\n1,x\n", &[], "must be numbers, but the table has text");
}

#[test]
fn the_task_can_be_given() {
    let mut file = tempfile::NamedTempFile::with_suffix(".csv").expect("a file");
    file.write_all(b"a,b,y\n0.1,0.2,0\n0.5,0.4,1\n")
        .expect("written");
    let make = |task: Wish| {
        let (features, ignore) = (vec!["a".to_owned(), "b".to_owned()], Vec::new());
        let profile = Profile {
            data: file.path(),
            format: TextFormat::default(),
            features,
            ignore,
            label: Some("y".to_owned()),
            task,
            slices: SliceChoice::default(),
        };
        profile
            .make(&graph(), &mut Sum)
            .map(|b| b.performance.keys().cloned().collect::<Vec<_>>())
    };

    let measured = |wish| make(wish).map_err(|e| e.message);
    assert!(
        measured(Wish::default()).is_ok_and(|m| m.contains(&"mae".to_owned())),
        "one number is a value"
    );
    let kind = Some(crate::core::model::task::TaskKind::Classification);
    let classes = Wish {
        kind,
        output: Some("y".to_owned()),
        classes: vec!["0".to_owned(), "1".to_owned()],
    };

    assert!(measured(classes).is_ok_and(|m| m.contains(&"accuracy".to_owned())));
    let wrong = Wish {
        output: Some("z".to_owned()),
        ..Wish::default()
    };
    assert!(measured(wrong).is_err_and(|e| e.contains("'z' is not an output of the model")));
}

/// Makes a baseline of two columns and labels, sliced by the first column.
fn sliced(rows: &[(usize, usize, f64)]) -> Baseline {
    let lines: String = rows
        .iter()
        .map(|(a, b, y)| format!("{a},{b},{y}\n"))
        .collect();
    let mut file = tempfile::NamedTempFile::with_suffix(".csv").expect("a file");
    file.write_all(format!("a,b,y\n{lines}").as_bytes())
        .expect("written");
    let profile = Profile {
        data: file.path(),
        format: TextFormat::default(),
        features: vec!["a".to_owned(), "b".to_owned()],
        ignore: Vec::new(),
        label: Some("y".to_owned()),
        task: Wish::default(),
        slices: SliceChoice::Named(vec!["a".to_owned()]),
    };
    profile.make(&graph(), &mut Sum).expect("a baseline")
}

#[test]
fn each_part_has_the_share_of_its_labelled_rows_that_are_wrong() {
    // A fifth of the rows of the part `1` is off by 100: over the 90th percentile of all errors.
    let row = |i: usize| {
        let (a, b) = (i % 2, i / 2 % 7);
        (a, b, (a + b) as f64 + if i % 10 == 1 { 100.0 } else { 0.0 })
    };
    let mut rows: Vec<(usize, usize, f64)> = (0..2_000).map(row).collect();
    let losses = |made: &Baseline| -> Vec<(String, Option<(u64, u64)>)> {
        let parts = made.parts.iter();
        let one = parts.map(|p| (p.part.clone(), p.loss.map(|loss| (loss.rows, loss.lost))));
        one.collect()
    };
    let expected = [
        ("0".to_owned(), Some((1_000, 0))),
        ("1".to_owned(), Some((1_000, 200))),
    ];
    let made = sliced(&rows);
    assert_eq!(losses(&made), expected);
    assert_eq!(Baseline::read(&made.write()).expect("read back"), made);

    // Rows that are sorted by their labels are put into another order.
    rows.sort_by(|one, other| one.2.total_cmp(&other.2));
    let sorted = sliced(&rows);
    assert!(sorted.unordered);
    assert_eq!(losses(&sorted), expected);
}

#[test]
fn parts_without_labels_have_no_share_of_wrong_rows() {
    let rows: String = (0..1_000)
        .map(|i| format!("{},{}\n", i % 2, i % 7))
        .collect();
    let baseline = make(&format!("a,b\n{rows}"), &[], &[]).expect("a baseline");
    assert!(!baseline.parts.is_empty() && baseline.parts.iter().all(|p| p.loss.is_none()));
}

#[test]
fn a_time_is_an_input_in_seconds_in_the_order_of_dates_that_is_set() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"at,since\n01/02/2026,2026-01-01T00:00:00.5\n02/02/2026,\n")
        .expect("written");
    let make = |dates: Option<&str>| {
        let profile = Profile {
            data: file.path(),
            format: TextFormat {
                dates: dates.map(str::to_owned),
                ..TextFormat::default()
            },
            features: Vec::new(),
            ignore: Vec::new(),
            label: None,
            task: Wish::default(),
            slices: SliceChoice::default(),
        };
        profile.make(&graph(), &mut Sum)
    };
    let baseline = make(Some("dmy")).expect("a baseline");
    let numbers = |at: usize| match &baseline.inputs[at].values {
        Held::Numbers(numbers) => numbers.clone(),
        other => panic!("{other:?}"),
    };
    // FP32 rounds a second of today to 128; that is the model's input here.
    let expected = f64::from(1_769_904_000_f32);
    assert!(
        (numbers(0).mean - expected).abs() < 50_000.0,
        "{:?}",
        numbers(0)
    );
    assert_eq!(numbers(1).mean, f64::from(1_767_225_600.5_f32));
    assert_eq!(baseline.inputs[1].missing, 1);
    let error = make(None).expect_err("either order is possible");
    assert!(
        error
            .message
            .contains("must be numbers, but the table has text"),
        "{error}"
    );
}
