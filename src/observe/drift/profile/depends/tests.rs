//! Tests of `depends`.

use super::*;
use crate::core::hash::SplitMix;
use crate::observe::drift::profile::profile;

fn uniform(random: &mut SplitMix) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[test]
fn a_score_that_depends_on_the_hour_is_cyclic_and_others_are_not() {
    let mut random = SplitMix(3);
    let hours: Vec<f64> = (0..20_000)
        .map(|row| f64::from((row / 2 % 24) as u8))
        .collect();
    let score: Vec<f64> = hours
        .iter()
        .map(|hour| hour / 100.0 + uniform(&mut random))
        .collect();
    let other: Vec<f64> = hours.iter().map(|_| uniform(&mut random)).collect();
    let series = [hours, score, other].map(ColumnSeries::Numbers);
    let names = ["hour", "score", "other"];
    let mut columns: Vec<BaselineColumn> = names
        .iter()
        .zip(&series)
        .map(|(name, series)| profile(name, series))
        .collect();
    // Without an order, each is stationary by itself.
    columns[1].kind = ColumnKind::Stationary;
    columns[1].band.clear();

    find_dependent(&mut columns, &series.each_ref(), |_| false);
    assert_eq!(
        (columns[1].kind, columns[2].kind),
        (ColumnKind::Cyclic, ColumnKind::Stationary)
    );
    assert_eq!(columns[1].reason, "it varies with 'hour'");
    let edges = columns[1].counts().len() - 1;
    assert_eq!(columns[1].band.len(), edges);
    let widest = columns[1]
        .band
        .iter()
        .map(|(low, high)| high - low)
        .fold(0.0, f64::max);
    assert!((0.15..0.4).contains(&widest), "{widest}");
}

#[test]
fn missing_values_keep_rows_together() {
    let hours: Vec<f64> = (0..4_800)
        .map(|row| f64::from((row / 2 % 24) as u8))
        .collect();
    let holes: Vec<f64> = hours
        .iter()
        .enumerate()
        .map(|(row, hour)| if row % 3 == 0 { f64::NAN } else { *hour })
        .collect();
    let series = [hours, holes].map(ColumnSeries::Numbers);
    let mut columns = vec![profile("hour", &series[0]), profile("same", &series[1])];
    columns[1].kind = ColumnKind::Stationary;
    find_dependent(&mut columns, &series.each_ref(), |_| false);
    assert_eq!(columns[1].kind, ColumnKind::Cyclic, "{}", columns[1].reason);
}

#[test]
fn outputs_are_compared_hour_by_hour_although_their_means_are_alike() {
    let mut random = SplitMix(9);
    let hours: Vec<f64> = (0..20_000)
        .map(|row| f64::from((row / 2 % 24) as u8))
        .collect();
    // At night the score is 0.2 or 0.8, by day anything between 0 and 1.
    let score: Vec<f64> = hours
        .iter()
        .map(|hour| match (*hour < 6.0, uniform(&mut random)) {
            (true, part) if part < 0.5 => 0.2,
            (true, _) => 0.8,
            (false, part) => part,
        })
        .collect();
    let series = [hours, score].map(ColumnSeries::Numbers);
    let profiled = || {
        let mut columns = vec![profile("hour", &series[0]), profile("score", &series[1])];
        columns[1].kind = ColumnKind::Stationary;
        columns[1].band.clear();
        columns
    };
    let mut as_input = profiled();
    find_dependent(&mut as_input, &series.each_ref(), |_| false);
    assert_eq!(as_input[1].kind, ColumnKind::Stationary);
    let mut as_output = profiled();
    find_dependent(&mut as_output, &series.each_ref(), |at| at == 1);
    assert_eq!(as_output[1].kind, ColumnKind::Cyclic);
    assert_eq!(as_output[1].reason, "it varies with 'hour'");
}
