//! Tests of the arguments of `alarms`.

use super::start_of_period;

#[test]
fn a_period_starts_at_a_date_or_a_time() {
    let start = |text| start_of_period(text).map(|time| time.timestamp());
    assert_eq!(start("2026-11-26"), start("2026-11-26T00:00:00Z"));
    assert_eq!(
        start("2026-11-26T08:00:00+02:00"),
        start("2026-11-26T06:00:00Z")
    );
    assert!(start("26.11.2026").is_err_and(|e| e.contains("must be a date such as")));
}
