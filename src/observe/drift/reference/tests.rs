//! Tests of `reference`.

use super::*;
use crate::core::tensor::DType;
use crate::observe::drift::layout::RowPart;
use crate::observe::drift::watch::tests::Random;

fn place(name: &str, side: Side, dtype: DType) -> ColumnPlace {
    ColumnPlace {
        name: name.to_owned(),
        side,
        tensor: 0,
        part: RowPart::Element(0),
        dtype,
    }
}

/// Rows of a region, an income that depends on it, an age that goes with the income, and a score.
struct Rows {
    places: Vec<ColumnPlace>,
    series: Vec<ColumnSeries>,
    lost: Vec<Option<bool>>,
}

impl Rows {
    fn new(rows: usize) -> Self {
        let mut random = Random(3);
        let (mut words, mut income, mut age, mut score) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rows {
            let region = (random.next() * random.next() * 4.0) as usize;
            words.push(["north", "south", "east", "west"][region].to_owned());
            income.push(50.0 + 10.0 * region as f64 + random.normal());
            age.push(income[income.len() - 1] + 0.2 * random.normal());
            score.push(random.next());
        }
        let numbers = ColumnSeries::Numbers;
        Self {
            places: vec![
                place("region", Side::Input, DType::String),
                place("income", Side::Input, DType::F32),
                place("age", Side::Input, DType::F32),
                place("score", Side::Output, DType::F32),
            ],
            series: vec![
                ColumnSeries::Words(words),
                numbers(income),
                numbers(age),
                numbers(score),
            ],
            lost: Vec::new(),
        }
    }

    fn baseline(&self, choice: &SliceChoice) -> Baseline {
        let reference = ReferenceRows {
            places: &self.places,
            series: &self.series,
            importances: &BTreeMap::from([("income".to_owned(), 0.5)]),
            facts: &RowFacts::default(),
            lost: &self.lost,
            threads: 1,
        };
        reference.baseline(self.series[0].rows() as u64, choice)
    }
}

#[test]
fn each_part_with_enough_rows_has_distributions_of_its_own() {
    let rows = Rows::new(4_000);
    let baseline = rows.baseline(&SliceChoice::Fitting);
    let ColumnSeries::Words(words) = &rows.series[0] else {
        unreachable!("words")
    };
    let mut named = Vec::new();
    for part in &baseline.parts {
        let expected = words.iter().filter(|word| **word == part.part).count() as u64;
        assert_eq!((part.rows, part.slice.as_str()), (expected, "region"));
        let names: Vec<&str> = part.columns().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["income", "age", "score"]);
        assert_eq!(part.inputs[0].importance, Some(0.5));
        assert_eq!(part.inputs[0].counts().iter().sum::<u64>(), expected);
        named.push(part.part.as_str());
    }
    assert!(named.len() >= 3 && named.contains(&"north"), "{named:?}");
    assert_eq!(baseline.inputs[1].importance, Some(0.5));
    let written = baseline.write();
    assert_eq!(Baseline::read(&written).expect("valid"), baseline);
}

#[test]
fn numbers_are_sliced_by_their_quarters_if_they_are_named() {
    let named = SliceChoice::Named(vec!["age".to_owned(), "region".to_owned()]);
    let baseline = Rows::new(4_000).baseline(&named);
    let of_age: Vec<_> = baseline.parts.iter().filter(|p| p.slice == "age").collect();
    assert_eq!(of_age.len(), 4);
    assert!(of_age.iter().all(|part| (900..1_100).contains(&part.rows)));
    let none = Rows::new(4_000).baseline(&SliceChoice::Named(Vec::new()));
    assert!(none.parts.is_empty());
}

#[test]
fn few_rows_have_neither_parts_nor_a_projection() {
    let baseline = Rows::new(150).baseline(&SliceChoice::Fitting);
    assert!(baseline.parts.is_empty() && baseline.multivariate.is_none());
}

#[test]
fn the_numeric_inputs_are_looked_at_together() {
    let baseline = Rows::new(4_000).baseline(&SliceChoice::Fitting);
    let together = baseline.multivariate.expect("two numbers");
    let names: Vec<&str> = together
        .projection
        .columns
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(names, ["income", "age"]);
    assert_eq!(together.distances.name, MULTIVARIATE);
    assert_eq!(together.distances.counts().iter().sum::<u64>(), 4_000);
}

#[test]
fn distances_from_how_inputs_fit_an_hour_are_compared_hour_by_hour() {
    // One of the inputs follows the hour, which a minute of live rows shares.
    let mut random = Random(5);
    let daily = |row: usize| (row as f64 / 24.0 * std::f64::consts::TAU).sin();
    let values: Vec<f64> = (0..9_600)
        .map(|row| daily(row) + 0.3 * random.normal())
        .collect();
    let hours: Vec<i64> = (0..9_600).map(|row| row % 24).collect();
    let mut rows = Rows::new(9_600);
    rows.series[2] = ColumnSeries::Numbers(values);
    let without = rows.baseline(&SliceChoice::Fitting);
    assert_eq!(without.inputs[2].kind, ColumnKind::Cyclic);
    assert!(
        without.multivariate.is_none(),
        "nothing tells the hour, and one number is left"
    );

    rows.series[1] = ColumnSeries::Whole(hours);
    rows.places[1].name = "hour".to_owned();
    let with = rows.baseline(&SliceChoice::Fitting);
    let together = with.multivariate.expect("two numbers");
    let used = together
        .projection
        .columns
        .iter()
        .map(|column| column.name.as_str());
    assert_eq!(used.collect::<Vec<_>>(), ["hour", "age"]);
    let distances = together.distances;
    assert_eq!(distances.kind, ColumnKind::Cyclic, "{}", distances.reason);
    assert!(!distances.band.is_empty());
}

#[test]
fn a_model_with_a_column_of_that_name_has_no_projection() {
    let mut rows = Rows::new(1_000);
    rows.places[2].name = MULTIVARIATE.to_owned();
    assert!(rows.baseline(&SliceChoice::Fitting).multivariate.is_none());
}

#[test]
fn only_missing_values_of_a_column_that_moves_are_tested_in_parts() {
    let mut rows = Rows::new(8_000);
    let mut random = Random(9);
    let daily = |row: usize| (row as f64 / 48.0 * std::f64::consts::TAU).sin();
    rows.series[2] = ColumnSeries::Numbers(
        (0..8_000)
            .map(|row| daily(row) + 0.5 * random.normal())
            .collect(),
    );
    let baseline = rows.baseline(&SliceChoice::Fitting);
    assert_eq!(baseline.inputs[2].kind, ColumnKind::Cyclic);
    assert!(!baseline.parts.is_empty() && !baseline.inputs[2].band.is_empty());
    for part in &baseline.parts {
        let [income, age] = &part.inputs[..] else {
            panic!("two inputs")
        };
        assert_eq!(income.kind, ColumnKind::Stationary);
        assert_eq!((age.kind, age.band.len()), (ColumnKind::Cyclic, 0));
    }
}
