//! Tests of learned durations.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A cost that was learned from runs of each size, of the durations that `took` gives in ms.
fn learned(rows_max: usize, took: impl Fn(usize) -> f64) -> BatchCost {
    let mut cost = BatchCost::default();
    let mut rows = 1;
    while rows <= rows_max {
        for _ in 0..20 {
            cost.note(rows, MS.mul_f64(took(rows)));
        }
        rows *= 2;
    }
    cost
}

fn close(a: Duration, ms: f64) {
    let b = MS.mul_f64(ms).as_secs_f64();
    assert!((a.as_secs_f64() - b).abs() <= 0.1 * b, "{a:?}, not {ms} ms");
}

#[test]
fn durations_lie_on_lines_between_the_sizes_that_ran() {
    let cost = learned(16, |rows| 2.0 + rows as f64);
    close(cost.mean(1), 3.0);
    close(cost.mean(3), 5.0);
    close(cost.mean(12), 14.0);
    close(cost.mean(32), 36.0);
    assert_eq!(BatchCost::default().mean(5), Duration::ZERO);
}

#[test]
fn a_batch_grows_as_long_as_a_row_gets_cheaper() {
    // A fixed part, as of trees and small networks.
    assert_eq!(
        learned(64, |rows| 5.0 + 0.01 * rows as f64).best_rows(1, 64),
        64
    );
    // As convolutions: every row costs the same, and larger batches leave the cache.
    let convolution = learned(64, |rows| 25.0 * rows as f64 + 0.1 * (rows * rows) as f64);
    assert_eq!(convolution.best_rows(1, 64), 1);
    // A request of several rows is not cut.
    assert_eq!(convolution.best_rows(6, 64), 6);
    // Rows are cheapest in batches of 8.
    let best = learned(64, |rows| if rows <= 8 { 10.0 } else { 2.0 * rows as f64 });
    assert_eq!(best.best_rows(1, 64), 8);
    assert_eq!(best.best_rows(1, 5), 5);
}

#[test]
fn sizes_that_never_ran_are_tried_one_by_one() {
    let nothing = BatchCost::default();
    assert_eq!(nothing.best_rows(1, 64), 1);
    assert_eq!(nothing.best_rows(3, 64), 4);
    assert_eq!(nothing.best_rows(3, 3), 3);
    let two = learned(2, |_| 5.0);
    assert_eq!(two.best_rows(1, 64), 4);
    let linear = learned(2, |rows| 5.0 * rows as f64);
    assert_eq!(linear.best_rows(1, 64), 1);
}

#[test]
fn a_size_that_did_not_pay_is_tried_again() {
    let mut cost = learned(64, |rows| 25.0 * rows as f64);
    let mut largest = 0;
    for _ in 0..1_000 {
        let rows = cost.best_rows(1, 64);
        largest = largest.max(rows);
        // Now a batch of any size takes as long.
        cost.note(rows, MS * 25);
    }
    assert_eq!(largest, 64);

    let mut linear = learned(64, |rows| 25.0 * rows as f64);
    let mut tried = 0;
    for _ in 0..6_400 {
        let rows = linear.best_rows(1, 64);
        tried += usize::from(rows > 1);
        linear.note(rows, MS * 25 * u32::try_from(rows).expect("few"));
    }
    assert_eq!(tried, 100);
}

#[test]
fn one_stall_changes_little_and_a_slower_machine_much() {
    let mut cost = learned(1, |_| 10.0);
    cost.note(1, MS * 10_000);
    assert!(cost.mean(1) < MS * 13, "{:?}", cost.mean(1));
    for _ in 0..40 {
        cost.note(1, MS * 100);
    }
    close(cost.mean(1), 100.0);
}

#[test]
fn one_run_of_twenty_takes_longer_than_the_high_duration() {
    let mut cost = BatchCost::default();
    let mut random = crate::core::hash::SplitMix(7);
    let mut next = || 10.0 + (random.next_u64() % 100) as f64 / 10.0;
    let mut beyond = 0;
    for run in 0..4_000 {
        let took = MS.mul_f64(next());
        beyond += usize::from(run >= 2_000 && took > cost.high(1));
        cost.note(1, took);
    }
    assert!((60..=160).contains(&beyond), "{beyond} of 2,000");
}

#[test]
fn a_machine_that_was_slow_is_fast_again_at_once() {
    let mut cost = learned(1, |_| 10_000.0);
    cost.note(1, MS * 10);
    assert!(cost.mean(1) <= MS * 40, "{:?}", cost.mean(1));
    assert!(cost.high(1) <= MS * 160, "{:?}", cost.high(1));
}

#[test]
fn a_full_size_is_told_from_one_that_is_partly_filled() {
    // A run costs as much as one of the next power of two.
    let steps = |rows: usize| MS * u32::try_from(2 + rows.next_power_of_two()).expect("few");
    let mut cost = BatchCost::default();
    for _ in 0..100 {
        for rows in [1, 2, 3, 3, 3, 4] {
            cost.note(rows, steps(rows));
        }
    }
    assert_eq!(cost.mean(4), MS * 6);
    assert_eq!(cost.best_rows(1, 3), 2);
    assert_eq!(cost.best_rows(1, 4), 4);
}

#[test]
fn sizes_between_powers_of_two_are_compared_too() {
    let learned = |took: &[(usize, f64)]| {
        let mut cost = BatchCost::default();
        for (rows, ms) in took.iter().cycle().take(100) {
            cost.note(*rows, MS.mul_f64(*ms));
        }
        cost
    };
    // As of a transformer on a noisy machine: two rows seem dear, three and six are cheapest.
    let three = learned(&[(1, 35.4), (2, 72.0), (3, 45.9)]);
    assert_eq!(three.best_rows(1, 3), 3);
    assert_eq!(three.best_rows(1, 64), 4, "what pays may pay further");
    let six = learned(&[(1, 29.0), (2, 60.0), (4, 120.0), (6, 81.0), (8, 240.0)]);
    assert_eq!(six.best_rows(1, 64), 6);
    assert_eq!(six.best_rows(1, 5), 5);
    assert_eq!(six.best_rows(7, 64), 7);
}

#[test]
fn the_first_runs_of_a_size_differ_from_their_mean() {
    let mut cost = BatchCost::default();
    for ms in [0.052, 0.227, 0.33] {
        cost.note(64, MS.mul_f64(ms));
    }
    let (mean, high) = (cost.mean(64), cost.high(64));
    assert!(high > mean.mul_f64(1.2), "{mean:?}, {high:?}");
}

#[test]
fn a_size_is_tried_again_although_larger_ones_never_ran() {
    // Two rows pay, four did not. More wait than ever ran.
    let mut cost = learned(4, |rows| [4.0, 4.0, 12.0, 12.0][rows - 1]);
    let largest = (0..64).map(|_| {
        let rows = cost.best_rows(1, 64);
        cost.note(rows, MS * 4);
        rows
    });
    assert_eq!(largest.max(), Some(4));
}

#[test]
fn sizes_that_do_not_run_follow_a_machine_that_changes_its_speed() {
    for times in [3.0, 1.0 / 3.0] {
        let took = |rows: usize| 2.0 + rows as f64;
        let mut cost = learned(16, took);
        for run in 0..80 {
            let speed = if run < 20 { 1.0 } else { times };
            cost.note(1, MS.mul_f64(took(1) * speed));
        }
        let mean = cost.mean(16).as_secs_f64() * 1e3;
        let share = mean / (took(16) * times);
        assert!((0.7..1.4).contains(&share), "{times}: {share}");
    }
}

#[test]
fn a_single_stall_does_not_end_the_use_of_a_size() {
    let mut cost = learned(8, |rows| 1.0 + 0.5 * rows as f64);
    cost.note(8, MS * 50);
    assert_eq!(cost.best_rows(1, 8), 8);
}

/// Sizes of which few runs are noted, as more or fewer wait, on a machine that other work slows now and then.
#[test]
fn sizes_that_do_not_run_stay_near_what_they_took_however_long_others_run() {
    let took = |rows: usize| 0.1 + 0.1 * rows as f64;
    for seed in 1..20 {
        let mut cost = learned(32, took);
        let mut random = crate::core::hash::SplitMix(seed);
        let mut next = |n: u64| random.next_u64() % n;
        let (mut rows, mut speed) = (1, 1.0);
        for run in 0..30_000 {
            if run % 40 == 0 {
                speed = [1.0, 1.0, 1.0, 2.5][next(4) as usize];
                // Most often one size, and for a while another.
                rows = [1, 1, 1, 2, 3, 6, 7, 8][next(8) as usize];
            }
            let stall = if next(50) == 0 { 4.0 } else { 1.0 };
            let noise = 0.8 + next(100) as f64 / 250.0;
            cost.note(rows, MS.mul_f64(took(rows) * speed * stall * noise));
        }
        let share = cost.mean(32).as_secs_f64() * 1e3 / took(32);
        assert!((0.24..4.1).contains(&share), "seed {seed}: {share} times");
    }
}
