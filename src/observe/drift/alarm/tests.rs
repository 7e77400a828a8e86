//! Tests of `alarm`.

use super::*;

#[test]
fn an_alarm_starts_at_two_of_three_windows_and_ends_after_three_without() {
    let mut verdicts = Verdicts::default();
    let mut take = |lower: f64| {
        let begins = verdicts.take(DriftMeasure { value: 1.0, lower }, 0.1);
        (begins, verdicts.is_raised())
    };
    assert_eq!(take(0.2), (false, false), "once is chance");
    assert_eq!(
        take(0.1),
        (false, false),
        "as much as the threshold is not more"
    );

    assert_eq!(take(0.2), (true, true));
    assert_eq!((take(0.0), take(0.0)), ((false, true), (false, true)));
    assert_eq!(take(0.0), (false, false));
    assert_eq!(
        (take(0.2), take(0.2)),
        ((false, false), (true, true)),
        "it begins anew"
    );
}

#[test]
fn the_accepted_false_alarms_are_divided_among_all_tests() {
    let minute = Duration::from_secs(60);
    let settings = |false_alarms_per_month| MonitorSettings {
        window_min: minute,
        window_max: minute,
        false_alarms_per_month,
        ..MonitorSettings::default()
    };

    // 43,200 minutes, their spans, and 720 hours, five metrics each.
    let windows = 43_200.0 * (1.0 + 1.0 / 8.0 + 1.0 / 64.0 + 1.0 / 512.0) + 720.0;
    let alpha = significance(&settings(1.0), 50);
    assert!((alpha * 50.0 * 5.0 * windows - 1.0).abs() < 1e-9, "{alpha}");
    assert!(significance(&settings(1e9), 1) <= 0.05);
}
