//! Tests of `history`.

use super::*;

#[test]
fn a_long_history_is_thinned_evenly() {
    let mut history = DriftHistory::default();
    for time in 1..=10_000 {
        history.add(WindowDrift {
            time,
            rows: 1,
            alarms: 0,
            columns: Vec::new(),
            estimated: None,
        });
    }

    let times: Vec<u64> = history.since(0).iter().map(|p| p.time).collect();
    assert!(
        (POINTS_MAX / 2..POINTS_MAX).contains(&times.len()),
        "{}",
        times.len()
    );

    let steps: std::collections::BTreeSet<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(
        history.since(9_900).iter().all(|p| p.time >= 9_900) && !history.since(9_900).is_empty()
    );
}
