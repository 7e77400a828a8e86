//! Tests of `sequential`.

use super::*;

fn rows_until(alpha: f64, allowed: f64, share: f64, most: u64, seed: u64) -> Option<u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bet = Bet::default();
    (1..=most).find(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let lost = ((state >> 11) as f64 / (1_u64 << 53) as f64) < share;
        bet.take(lost, allowed) >= -alpha.ln()
    })
}

#[test]
fn a_model_within_the_accepted_error_share_rarely_raises_an_alarm() {
    let accused = |share| {
        (0..400)
            .filter(|seed| rows_until(0.05, 0.1, share, 4_000, *seed).is_some())
            .count()
    };

    // 20 of 400 by chance at most; 35 is that and three and a half deviations.
    assert!(accused(0.1) <= 35, "{}", accused(0.1));
    assert!(accused(0.08) <= accused(0.1));
}

#[test]
fn larger_increases_of_the_error_share_are_found_sooner() {
    let median = |share| {
        let mut found: Vec<u64> = (0..51)
            .map(|seed| rows_until(0.001, 0.1, share, 20_000, seed).unwrap_or(u64::MAX))
            .collect();
        found.sort_unstable();
        found[25]
    };

    let (little, much) = (median(0.13), median(0.3));
    assert!(
        little < 4_000 && much < 100 && much < little,
        "{little} {much}"
    );
}

#[test]
fn a_test_learns_the_accepted_error_share_and_raises_one_alarm() {
    let mut trial = SequentialTest::default();
    let mut state = 9_u64;
    let mut give = |trial: &mut SequentialTest, off: f64, rows: u64, hour: u64| {
        (0..rows)
            .filter_map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let error = (state >> 40) as f64 / f64::from(1 << 24) * off;
                trial.take(
                    (&RowAnswer::Value(error), Truth::Value(0.0)),
                    hour,
                    1.0,
                    0.02,
                )
            })
            .collect::<Vec<_>>()
    };

    assert!(give(&mut trial, 1.0, OWN_ROWS, 0).is_empty() && trial.allowed.is_some());
    assert!(
        give(&mut trial, 1.0, 5_000, 1).is_empty(),
        "nothing changed"
    );
    let won = give(&mut trial, 2.0, 2_000, 24);
    assert_eq!(won.len(), 1, "one alarm: {won:?}");
    let alarm = trial.alarm.expect("it lasts");
    assert!(won[0].rows < 500 && alarm.won == won[0], "{won:?}");
    assert_eq!((alarm.since, alarm.until), (24, 48));
    // Rows of after its start, of which half are over the tenth decile of those before.
    assert_eq!(alarm.rows_since, 2_000 - alarm.won.rows);
    let share = alarm.lost_since as f64 / alarm.rows_since as f64;
    assert!((0.5..0.6).contains(&share), "{share}");

    give(&mut trial, 1.0, 1, 48);
    assert!(
        trial.alarm.is_none_or(|alarm| alarm.won.span_hours > 24),
        "the day is over"
    );
}

#[test]
fn a_small_baseline_allows_more() {
    assert!(allowed(0.1, 100, 0.0) > allowed(0.1, 10_000, 0.0));
    assert!((allowed(0.1, 1_000_000, 0.02) - 0.12).abs() < 0.001);
    assert!(allowed(0.0, 10, 0.0) > 0.0 && allowed(1.0, 10, 1.0) < 1.0);
}
