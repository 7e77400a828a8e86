//! Tests of `arguments`.

use super::*;

#[test]
fn targets_weights_and_dates_are_read_or_refused() {
    let read = |t: &str| {
        split_target(t)
            .map(|(name, which)| (name.to_string(), which))
            .ok()
    };

    assert_eq!(read("fraud"), Some(("fraud".into(), None)));
    assert_eq!(
        read("fraud@champion"),
        Some(("fraud".into(), Some("champion".into())))
    );
    assert_eq!(read("fraud:7"), Some(("fraud".into(), Some("7".into()))));
    assert_eq!((read("fraud:"), read("../x"), read("")), (None, None, None));
    assert_eq!(weight("champion=90").ok(), Some(("champion".into(), 90)));
    assert_eq!(weight("7=10%").ok(), Some(("7".into(), 10)));
    assert!(
        weight("champion").is_err() && weight("champion=-1").is_err() && weight("a=1.5").is_err()
    );

    assert_eq!(
        instant("2026-03-03")
            .map(|t| t.to_rfc3339())
            .ok()
            .as_deref(),
        Some("2026-03-03T23:59:59.999+00:00")
    );

    assert_eq!(
        instant("2026-03-03T12:00:00+02:00")
            .map(|t| t.to_rfc3339())
            .ok()
            .as_deref(),
        Some("2026-03-03T10:00:00+00:00")
    );

    assert!(instant("yesterday").is_err());
}

#[test]
fn a_period_starts_at_a_date_or_a_time() {
    let start = |text| {
        let time = beginning(text).map_err(|e| e.message)?;
        Ok::<_, String>(time.timestamp())
    };
    assert_eq!(start("2026-11-26"), start("2026-11-26T00:00:00Z"));
    assert_eq!(
        start("2026-11-26T08:00:00+02:00"),
        start("2026-11-26T06:00:00Z")
    );
    assert!(start("26.11.2026").is_err_and(|e| e.contains("must be a date such as")));
}
