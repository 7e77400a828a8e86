//! Simulates the false alarms of the performance test, and how soon a model that became worse is
//! detected. The committed run of the long size is in `tests/runs`.
#![allow(clippy::print_stdout)]

use super::*;

/// Labels per day.
const DAY: u64 = 2_000;
/// Error share of the model on 20,000 rows of its baseline.
const LOST: f64 = 0.05;

struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Returns the rows at which alarms start, within `days` days with an error share of `share`.
fn alarms(seed: u64, share: f64, days: u64) -> impl Iterator<Item = u64> {
    let performance = BTreeMap::from([("accuracy".to_owned(), 1.0 - LOST)]);
    let mut trial = SequentialTest::new(&performance, 20_000, 0.02);
    let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let answer = RowAnswer::Class(0, vec![1.0, 0.0]);
    (1..=days * DAY).filter(move |row| {
        let truth = Truth::Class(usize::from(random.next() < share));
        // A tenth of one false alarm a month is what labels may have.
        trial
            .take((&answer, truth), row * 24 / DAY, 0.1, 0.02)
            .is_some()
    })
}

#[test]
fn months_without_change_raise_no_alarm_and_a_worse_model_is_detected() {
    let is_long = std::env::var("ORTUS_TEST_SIZE").is_ok_and(|size| size == "long");
    let (seeds, days) = if is_long { (200, 100) } else { (8, 10) };
    // At exactly the accepted error share, alarms start by chance only.
    let edge = allowed(LOST, 20_000, 0.02);
    let count = |share| {
        (0..seeds)
            .map(|seed| alarms(seed, share, days.min(30)).count())
            .sum::<usize>()
    };

    let (same, at_edge) = (count(LOST), count(edge));
    println!(
        "{seeds} times {} days of {DAY} labels: {same} alarms at {LOST}, {at_edge} at the edge of {edge:.4}",
        days.min(30)
    );
    assert!(same as f64 <= 0.1 * seeds as f64 && at_edge as f64 <= 0.1 * seeds as f64 + 3.0);
    for (share, most) in [(0.08, 60_000), (0.10, 6_000), (0.15, 800), (0.30, 150)] {
        let mut found: Vec<u64> = (0..seeds)
            .map(|seed| alarms(seed, share, days).next().unwrap_or(u64::MAX))
            .collect();
        found.sort_unstable();
        let (median, late) = (found[found.len() / 2], found[found.len() * 9 / 10]);
        let rows = |n: u64| {
            if n == u64::MAX {
                "never".to_owned()
            } else {
                n.to_string()
            }
        };
        println!(
            "lost {LOST} to {share}: found after {} rows in the middle, {} of nine in ten",
            rows(median),
            rows(late)
        );
        assert!(median <= most, "{share}: {median}");
    }
}
