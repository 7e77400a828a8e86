//! Tests of `effect`.

use super::*;
use crate::core::hash::SplitMix;

fn uniform(random: &mut SplitMix) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// The design effect of live rows: sixteen cells, each row repeated so often, so many windows.
fn effect(repeats: usize, windows: usize, baseline: f64) -> f64 {
    let mut random = SplitMix(5);
    let mut live = LiveEffect::new(&[100; 16]);
    for _ in 0..windows {
        for _ in 0..1_000 / repeats {
            let cell = (uniform(&mut random) * 16.0) as usize;
            (0..repeats).for_each(|_| live.take(cell));
        }
        live.close();
    }
    live.of(baseline)
}

#[test]
fn rows_that_repeat_are_worth_fewer() {
    assert!(effect(1, 40, 1.0) < 1.5, "{}", effect(1, 40, 1.0));
    for repeats in [5, 20, 50] {
        let found = effect(repeats, 40, 1.0);
        let ratio = found / repeats as f64;
        assert!((0.6..1.6).contains(&ratio), "{repeats}: {found}");
    }
}

#[test]
fn the_baseline_stands_in_until_there_are_enough_rows() {
    assert_eq!(LiveEffect::new(&[1; 4]).of(12.0), 12.0);
    assert!(effect(1, 2, 12.0) >= 12.0, "too few to tell");
    assert!(effect(1, 40, 12.0) < 1.5, "live rows are independent");
}

#[test]
fn a_lasting_shift_is_no_likeness_of_neighbours() {
    let mut random = SplitMix(6);
    let mut live = LiveEffect::new(&[100; 16]);
    for window in 0..40 {
        for _ in 0..1_000 {
            // Half of the cells before, the other half after.
            let cell = (uniform(&mut random) * 8.0) as usize + if window < 20 { 0 } else { 8 };
            live.take(cell);
        }
        live.close();
    }
    assert!(live.of(1.0) < 12.0, "{}", live.of(1.0));
}

#[test]
fn one_value_in_every_row_has_no_effect() {
    let mut live = LiveEffect::new(&[100; 16]);
    (0..5_000).for_each(|_| live.take(3));
    live.close();
    assert_eq!(live.of(1.0), 1.0);
    live.take(99);
    assert_eq!(live.of(1.0), 1.0, "a cell that is not there is skipped");
}
