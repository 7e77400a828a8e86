//! Tests of `lease`.

use super::*;
use ortus::testing::with_records;

async fn holder_now(records: &Records) -> Option<String> {
    holder(records, "lease", Duration::from_secs(1))
        .await
        .expect("asked")
}

#[test]
fn a_lease_is_held_until_it_is_released_or_its_holder_is_silent() {
    with_records(async |records| {
        let time = Duration::from_secs(1);
        let ask = async |who: &str| take(&records, "lease", who, time).await.expect("asked");
        let LeaseOutcome::Ours(first) = ask("a").await else {
            panic!("nobody has it")
        };
        assert!(matches!(ask("b").await, LeaseOutcome::Others(who) if who == "a"));
        // It is renewed for as long as it is held.
        tokio::time::sleep(time * 2).await;
        assert!(matches!(ask("b").await, LeaseOutcome::Others(_)));
        assert_eq!(holder_now(&records).await.as_deref(), Some("a"));
        drop(first);
        assert_eq!(holder_now(&records).await, None);
        let LeaseOutcome::Ours(mut second) = ask("b").await else {
            panic!("released")
        };
        // One that is killed says nothing more.
        let silent = second.renewing.take();
        std::mem::forget(second);
        drop(silent);
        let gone = LeaseContent {
            holder: "b".to_owned(),
            nonce: "x".to_owned(),
            released: false,
        };
        records
            .overwrite(&name("lease", 3), text(&gone))
            .await
            .expect("written");
        assert!(matches!(ask("c").await, LeaseOutcome::Others(_)));
        tokio::time::sleep(time + Duration::from_millis(200)).await;
        assert!(
            matches!(ask("c").await, LeaseOutcome::Ours(_)),
            "its time passed"
        );
    });
}

#[test]
fn of_several_trainers_at_once_one_gets_the_lease() {
    with_records(async |records| {
        let names: Vec<String> = (0..8).map(|at| format!("t{at}")).collect();
        let all = names
            .iter()
            .map(|name| take(&records, "lease", name, Duration::from_secs(60)));
        let taken = futures_util::future::join_all(all).await;
        let ours = taken
            .iter()
            .filter(|t| matches!(t, Ok(LeaseOutcome::Ours(_))))
            .count();
        assert_eq!(ours, 1);
    });
}

#[test]
fn a_holder_that_lost_the_lease_notices_it() {
    with_records(async |records| {
        let LeaseOutcome::Ours(lease) = take(&records, "lease", "a", Duration::from_secs(1))
            .await
            .expect("asked")
        else {
            panic!("nobody has it")
        };
        let other = LeaseContent {
            holder: "b".to_owned(),
            nonce: "x".to_owned(),
            released: false,
        };
        records
            .create(&name("lease", 2), text(&other))
            .await
            .expect("created");
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(lease.check().is_err());
        drop(lease);
        assert_eq!(
            holder_now(&records).await.as_deref(),
            Some("b"),
            "it is left alone"
        );
    });
}
