//! Tests of `projection`.

use super::*;
use crate::observe::drift::distance::ks_statistic;
use crate::observe::drift::watch::tests::Random;

/// Rows of three columns: the second goes with the first, the third with none.
fn rows(seed: u64, rows: usize, share: f64) -> [ColumnSeries; 3] {
    let mut random = Random(seed);
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rows {
        let first = random.normal();
        let rest = (1.0 - share * share).sqrt();
        columns[0].push(first);
        columns[1].push(1e6 + 1e3 * (share * first + rest * random.normal()));
        columns[2].push(random.normal().exp());
    }
    columns.map(ColumnSeries::Numbers)
}

fn fit(columns: &[ColumnSeries; 3]) -> Option<Projection> {
    let names = ["a", "b", "c"];
    Projection::fit(&names.into_iter().zip(columns).collect::<Vec<_>>())
}

/// The largest difference of the distribution functions of two samples.
fn ks(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<f64> = a.iter().chain(b).copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    let below = |values: &[f64], edge: f64| values.iter().filter(|v| **v <= edge).count() as u64;
    let counts = |values: &[f64]| {
        let mut before = 0;
        let step = all.len() / 50;
        let cell = |edge: &f64| {
            let so_far = below(values, *edge);
            so_far - std::mem::replace(&mut before, so_far)
        };
        all.iter().step_by(step).map(cell).collect::<Vec<u64>>()
    };
    ks_statistic(&counts(a), &counts(b))
}

#[test]
fn columns_that_no_longer_go_together_are_far_from_the_baseline() {
    let past = rows(1, 10_000, 0.9);
    let projection = fit(&past).expect("numbers");
    projection.check().expect("valid");
    let before = projection.distances(&past.each_ref());
    let same = projection.distances(&rows(2, 10_000, 0.9).each_ref());
    let apart = projection.distances(&rows(3, 10_000, 0.0).each_ref());
    assert!(ks(&before, &same) < 0.03, "{}", ks(&before, &same));
    assert!(ks(&before, &apart) > 0.2, "{}", ks(&before, &apart));
}

#[test]
fn the_pair_whose_correlation_changed_is_named() {
    let past = rows(1, 10_000, 0.9);
    let projection = fit(&past).expect("numbers");
    let live = rows(2, 600, 0.0);
    let scaled: Vec<Vec<f64>> = (0..600)
        .map(|row| {
            let of = |(column, series): (&ProjectedColumn, &ColumnSeries)| {
                column.scaled(series.number(row))
            };
            projection.columns.iter().zip(&live).map(of).collect()
        })
        .collect();
    let found = projection.changed_pair(scaled.iter().map(Vec::as_slice));
    let (a, b, then, now) = found.expect("three columns");
    assert_eq!((a, b), (0, 1));
    assert!(then > 0.85 && now.abs() < 0.15, "{then} {now}");
}

#[test]
fn missing_and_infinite_values_have_a_finite_distance() {
    let projection = fit(&rows(1, 1_000, 0.9)).expect("numbers");
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
        let column = || ColumnSeries::Numbers(vec![value]);
        let columns = [column(), column(), column()];
        let distances = projection.distances(&columns.each_ref());
        assert!(distances[0].is_finite(), "{value}: {distances:?}");
    }
}

#[test]
fn few_rows_words_and_columns_that_do_not_vary_have_no_projection() {
    assert!(fit(&rows(1, ROWS_MIN - 1, 0.9)).is_none());
    assert!(fit(&rows(1, ROWS_MIN, 0.9)).is_some());
    let number = ColumnSeries::Numbers((0..500).map(f64::from).collect());
    let same = ColumnSeries::Whole(vec![3; 500]);
    let missing = ColumnSeries::Numbers(vec![f64::NAN; 500]);
    let words = ColumnSeries::Words(vec!["red".to_owned(); 500]);
    let of = |columns: &[&ColumnSeries]| {
        let named: Vec<(&str, &ColumnSeries)> = columns.iter().map(|c| ("a", *c)).collect();
        Projection::fit(&named)
    };
    assert!(of(&[]).is_none() && of(&[&number]).is_none());
    assert!(of(&[&number, &same, &missing, &words]).is_none());
    assert!(of(&[&number, &same, &number]).is_some());
}

#[test]
fn of_many_columns_some_are_taken() {
    for (count, wanted) in [(300, 6), (2_500, 50), (5_000, 50)] {
        let columns: Vec<ColumnSeries> = (0..200)
            .map(|seed| rows(seed, count, 0.5)[0].clone())
            .collect();
        let named: Vec<(&str, &ColumnSeries)> = columns.iter().map(|c| ("a", c)).collect();
        let projection = Projection::fit(&named).expect("numbers");
        assert_eq!(projection.columns.len(), wanted, "{count} rows");
        projection.check().expect("valid");
    }
}

#[test]
fn a_projection_that_does_not_hold_together_is_refused() {
    let valid = fit(&rows(1, 1_000, 0.9)).expect("numbers");
    let check = |change: &dyn Fn(&mut Projection), why: &str| {
        let mut changed = valid.clone();
        change(&mut changed);
        assert!(changed.check().expect_err(why).contains(why), "{why}");
    };
    check(&|p| p.columns.truncate(1), "2 to 64 columns");
    check(&|p| p.columns[0].scale = 0.0, "center or scale");
    check(&|p| p.columns[0].center = f64::NAN, "center or scale");
    check(&|p| p.components.clear(), "components");
    check(&|p| p.components[0].push(1.0), "components");
    check(&|p| p.components[0][0] = f64::INFINITY, "components");
    check(&|p| p.correlations.truncate(1), "correlation");
    check(&|p| p.correlations[1][0] = 1.5, "correlation");
}

#[test]
fn few_rows_are_as_far_from_their_own_components_as_other_rows() {
    let columns = |seed: u64, count: usize| -> Vec<ColumnSeries> {
        let mut random = Random(seed);
        let mut values = vec![Vec::new(); 12];
        for _ in 0..count {
            values
                .iter_mut()
                .for_each(|v: &mut Vec<f64>| v.push(random.normal()));
        }
        values.into_iter().map(ColumnSeries::Numbers).collect()
    };
    let mean = |distances: &[f64]| distances.iter().sum::<f64>() / distances.len() as f64;
    let mut ratios = Vec::new();
    for seed in 0..5 {
        let (few, other) = (columns(seed, 600), columns(100 + seed, 20_000));
        let named: Vec<(&str, &ColumnSeries)> = few.iter().map(|c| ("a", c)).collect();
        let projection = Projection::fit(&named).expect("numbers");
        let all: Vec<&ColumnSeries> = few.iter().collect();
        let own = projection.distances(&all);
        let too_near = projection.distances_of(&all, 0..600);
        let others: Vec<&ColumnSeries> = other.iter().collect();
        let others = projection.distances_of(&others, 0..20_000);
        // Own distances from own components would be shorter.
        let (near, ratio) = (mean(&too_near) / mean(&others), mean(&own) / mean(&others));
        assert!(near < 0.97, "{seed}: {near}");
        ratios.push(ratio);
    }
    assert!((0.97..1.03).contains(&mean(&ratios)), "{ratios:?}");
}
