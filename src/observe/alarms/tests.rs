//! Tests of `alarms`.

use super::*;
use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::layout::Side;
use crate::observe::report::alarm::{DRIFT_KIND, DriftAlarm};
use crate::observe::report::column::{BaselineSource, DriftTest};
use crate::storage::store::Store;
use crate::storage::store::faulty::{Fault, Faulty};
use crate::testing::{block_on, with_records};
use std::sync::Arc;

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
fn performance_alarms_of_two_parts_are_not_repetitions_of_each_other() {
    let of = |part: Option<&str>| {
        let mut alarm = serde_json::json!({
            "model": "m", "version": 1, "digest": "d", "time": Utc::now(), "span_hours": 24, "rows": 9,
            "lost": 9, "allowed": 0.1, "evidence": 1e6, "alpha": 0.001,
        });
        if let Some(part) = part {
            alarm["part"] = serde_json::json!({"slice": "region", "part": part});
        }
        LoggedAlarm {
            kind: "ortus.performance.alarm".to_owned(),
            alarm: serde_json::from_value(alarm).expect("an alarm"),
            ..kept("a")
        }
    };
    let (mut limit, now) = (Limit::default(), Instant::now());
    for part in [None, Some("north"), Some("south")] {
        assert!(matches!(of(part).alarm, AlarmEvent::Performance(_)));
        assert!(limit.admits(&of(part), now), "{part:?}");
        assert!(!limit.admits(&of(part), now), "{part:?} again");
    }
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

#[test]
fn a_store_that_hangs_or_fails_loses_an_alarm_and_not_the_next_one() {
    let store = Arc::<Faulty>::default();
    let records = Records::of(Store::of(Arc::<Faulty>::clone(&store) as _), "n");
    store.plan(&[Fault::StalledCreate]);
    block_on(async {
        while !store.is_through() {
            write_in_time(&records, &kept("a"), Duration::from_millis(1)).await;
        }
        store.plan(&[Fault::LostRequest]);
        write_in_time(&records, &kept("b"), WRITE_MAX).await;
        assert!(store.is_through());
        write_in_time(&records, &kept("c"), WRITE_MAX).await;
        let since = Utc::now() - chrono::TimeDelta::hours(1);
        let (found, _) = list(&records, None, since).await.expect("listed");
        let columns: Vec<_> = found
            .iter()
            .filter_map(|kept| kept.alarm.column())
            .collect();
        assert_eq!(columns, ["c"]);
    });
}

#[test]
fn alarms_beyond_the_queue_are_dropped_and_nobody_waits() {
    let (queue, mut inbox) = mpsc::channel(1);
    let alarms = Alarms(queue);
    for column in ["a", "b", "c"] {
        alarms.keep(DRIFT_KIND, "s", kept(column).alarm);
    }
    let waits = inbox.try_recv().expect("the first waits");
    assert_eq!(waits.alarm.column(), Some("a"));
    assert!(inbox.try_recv().is_err(), "the others were dropped");
}
