//! Tests of `measure`: summaries of counted values.

use super::*;
use crate::observe::drift::layout::ColumnValue;
use crate::observe::drift::profile::profile;
use crate::observe::drift::series::ColumnSeries;
use crate::observe::drift::watch::tests::Random;

/// The median of values that are counted in the cells of a baseline, and the exact one.
fn medians(baseline: &BaselineColumn, values: &[f64]) -> (f64, f64) {
    let cells = baseline.cells();
    let mut tally = ColumnTally::new(&cells);
    for value in values {
        tally.take(&cells, &ColumnValue::Number(*value));
    }
    let counts: Vec<u64> = tally.counts.iter().map(|n| u64::from(*n)).collect();
    let summary = summary(&baseline.values, (&counts, &tally.means()), 0);
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    (summary.median.expect("numbers"), sorted[sorted.len() / 2])
}

#[test]
fn the_median_of_counted_numbers_is_near_the_exact_one() {
    let mut random = Random(3);
    let mut draw = |rows: usize, middle: f64| -> Vec<f64> {
        (0..rows)
            .map(|_| middle + 100.0 * random.normal())
            .collect()
    };
    let baseline = profile("a", &ColumnSeries::Numbers(draw(5_000, 1_000.0)));
    for middle in [1_000.0, 1_003.0, 1_050.0, 1_150.0] {
        let (found, exact) = medians(&baseline, &draw(2_000, middle));
        assert!((found - exact).abs() < 8.0, "{middle}: {found} {exact}");
    }
}

#[test]
fn the_median_of_codes_and_of_single_values_is_one_of_them() {
    let codes: Vec<f64> = (0..1_000).map(|i| f64::from(i % 3 * 2)).collect();
    let baseline = profile("a", &ColumnSeries::Numbers(codes.clone()));
    assert_eq!(medians(&baseline, &codes).0, 2.0);

    let zeros = (0..1_000).map(|i| if i % 4 == 0 { f64::from(i) + 0.5 } else { 0.0 });
    let zeros: Vec<f64> = zeros.collect();
    let baseline = profile("a", &ColumnSeries::Numbers(zeros.clone()));
    assert_eq!(medians(&baseline, &zeros).0, 0.0);
}

#[test]
fn beyond_the_edges_the_median_is_the_mean_of_the_rows_there() {
    let baseline = profile(
        "a",
        &ColumnSeries::Numbers((0..1_000).map(f64::from).collect()),
    );
    assert_eq!(medians(&baseline, &[5e6; 100]).0, 5e6);
}

#[test]
fn a_rare_category_that_became_frequent_is_told_before_small_moves_of_large_ones() {
    let words = |of: &[(&str, usize)]| -> Vec<String> {
        let repeated = of
            .iter()
            .flat_map(|(word, rows)| std::iter::repeat_n(*word, *rows));
        repeated.map(str::to_owned).collect()
    };
    let past = words(&[("10%", 5_000), ("20%", 4_990), ("1O%", 10)]);
    let baseline = profile("a", &ColumnSeries::Words(past));
    let cells = baseline.cells();
    let changed_to = |of: &[(&str, usize)]| {
        let mut tally = ColumnTally::new(&cells);
        for word in words(of) {
            tally.take(&cells, &ColumnValue::Word(&word));
        }
        changed(&baseline.values, &baseline.counts(), &tally)
            .expect("rows")
            .value
    };
    assert_eq!(
        changed_to(&[("10%", 515), ("20%", 470), ("1O%", 15)]),
        "1O%"
    );
    assert_eq!(
        changed_to(&[("10%", 600), ("20%", 385), ("1O%", 15)]),
        "20%"
    );
}
