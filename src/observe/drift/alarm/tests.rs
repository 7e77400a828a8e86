//! Tests of `alarm`.

use super::*;

fn measured(lower: f64, certain: f64) -> DriftMeasure {
    DriftMeasure {
        value: 1.0,
        lower,
        certain,
    }
}

#[test]
fn an_alarm_starts_with_one_window_and_ends_after_three_without() {
    let mut verdicts = Verdicts::default();
    let mut take = |lower: f64, certain: f64| {
        let begins = verdicts.take(measured(lower, certain), 0.1);
        (begins, verdicts.is_raised())
    };
    assert_eq!(
        take(0.1, 0.1),
        (false, false),
        "as much as the threshold is not more"
    );
    assert_eq!(take(0.2, 0.025), (false, false), "likely, but not certain");
    assert_eq!(take(0.2, 0.03), (true, true));
    assert_eq!(take(0.2, 0.03), (false, true), "it goes on");
    assert_eq!(
        (take(0.0, 0.0), take(0.0, 0.0)),
        ((false, true), (false, true))
    );
    assert_eq!(take(0.0, 0.0), (false, false));
    assert_eq!(take(0.2, 0.2), (true, true), "it begins anew");
}

#[test]
fn the_accepted_false_alarms_are_spent_over_time_and_divided_among_all_tests() {
    let settings = |false_alarms_per_month| MonitorSettings {
        false_alarms_per_month,
        ..MonitorSettings::default()
    };
    let of = |seconds| significance(&settings(1.0), 50, Duration::from_secs(seconds));

    // Nine tenths are for drift: 43,200 minutes, 17 tests, five metrics, fifty columns.
    let tests = 43_200.0 * 17.0 * 5.0 * 50.0;
    assert!((of(60) * tests / 0.9 - 1.0).abs() < 1e-9, "{}", of(60));
    // However windows close, a month spends the same, and a pause counts as a day at most.
    assert!((of(60) * 60.0 / of(3_600) - 1.0).abs() < 1e-9);
    assert_eq!(of(86_400), of(10 * 86_400));
    assert!(significance(&settings(1e9), 1, Duration::from_secs(60)) <= LIKELY);
    assert!(significance(&settings(1.0), 1, Duration::ZERO) > 0.0);
}
