//! Tests of `alarms`.

use super::*;
use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::layout::Side;
use crate::observe::report::alarm::{DRIFT_KIND, DriftAlarm};
use crate::observe::report::column::{BaselineSource, DriftTest};
use crate::testing::with_records;

fn kept(column: &str) -> LoggedAlarm {
    let test = DriftTest {
        metric: Metric::Ks,
        against: Against::Training,
        span: 1,
        value: 0.4,
        lower: 0.3,
        certain: 0.2,
        threshold: 0.05,
        rows: 1_000,
        effective_rows: 1_000.0,
        baseline_rows: 5_000,
        alarm: true,
    };

    let alarm = DriftAlarm {
        model: "m".to_owned(),
        version: 1,
        digest: "d".to_owned(),
        column: column.to_owned(),
        side: Side::Input,
        time: Utc::now(),
        baseline: BaselineSource::Training,
        importance: None,
        test,
        alpha: 1e-6,
        servers: None,
    };

    LoggedAlarm {
        format: FORMAT,
        kind: DRIFT_KIND.to_owned(),
        model: "m".to_owned(),
        time: Utc::now(),
        server: "s".to_owned(),
        alarm: AlarmEvent::Drift(Box::new(alarm)),
    }
}

#[test]
fn a_repeated_alarm_is_stored_once_an_hour_and_all_alarms_have_a_limit() {
    let (mut limit, now) = (Limit::default(), Instant::now());
    assert!(
        limit.admits(&kept("a"), now)
            && !limit.admits(&kept("a"), now)
            && limit.admits(&kept("b"), now)
    );

    assert!(limit.admits(&kept("a"), now + QUIET), "an hour later");
    let mut limit = Limit::default();
    let admitted = (0..500)
        .filter(|i| limit.admits(&kept(&i.to_string()), now))
        .count();
    assert_eq!(admitted, HOUR_MAX);
}

#[test]
fn alarms_are_stored_and_read_by_model_and_time() {
    with_records(async |records| {
        write(&records, &kept("a")).await.expect("written");
        write(
            &records,
            &LoggedAlarm {
                model: "n".to_owned(),
                ..kept("a")
            },
        )
        .await
        .expect("written");
        records
            .create("alarms/model=m/9999-damaged.json", "{".into())
            .await
            .expect("written");
        let old = Utc::now() - chrono::TimeDelta::hours(1);
        let (found, damaged) = list(&records, Some("m"), old).await.expect("listed");
        assert_eq!(
            (found.len(), damaged, found[0].alarm.column()),
            (1, 1, Some("a"))
        );
        assert_eq!(list(&records, None, old).await.expect("listed").0.len(), 2);
        let later = Utc::now() + chrono::TimeDelta::hours(1);
        assert_eq!(
            list(&records, Some("n"), later)
                .await
                .expect("listed")
                .0
                .len(),
            0
        );
    });
}
