//! Tests of `pins`.

use super::*;
use crate::history::RunStatus;
use crate::record::RunRecord;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn event(kind: TriggerKind, key: &str) -> TriggerEvent {
    TriggerEvent {
        kind,
        key: EventKey::parse(key),
        time: at("2026-03-01T03:00:00Z"),
        why: String::new(),
        moot: None,
        waits: None,
    }
}

fn recorded(began: &str, status: RunStatus, events: &[&TriggerEvent]) -> RecordedRun {
    RecordedRun {
        model: "m".to_owned(),
        began: at(began),
        seconds: 60.0,
        trigger: String::new(),
        events: events.iter().map(|event| event.key.clone()).collect(),
        apart: false,
        status,
        record: RunRecord::default(),
    }
}

/// Pins an event, and returns whether the pin remains after those of recorded runs are removed.
async fn remains(event: &TriggerEvent, pinned_at: &str, runs: &[RecordedRun]) -> bool {
    let folder_of_store = tempfile::tempdir().expect("a folder");
    let url = folder_of_store.path().display().to_string();
    let records = Records::open(&url, "default").expect("opens");
    let model = ModelName::parse("m").expect("a name");
    Pinned::new(&records, &model, std::slice::from_ref(event), at(pinned_at))
        .await
        .expect("pinned");

    clear_recorded(&records, &model, runs)
        .await
        .expect("cleared");
    let left: Vec<_> = records
        .list(&folder(&model))
        .try_collect()
        .await
        .expect("listed");
    !left.is_empty()
}

#[tokio::test]
async fn a_pin_is_removed_once_a_run_for_its_event_is_recorded() {
    let request = event(TriggerKind::Request, "ask-1f");
    let other = event(TriggerKind::Request, "ask-2f");
    let cron = event(TriggerKind::Cron, "cron-20260301T030000Z");
    let pinned = "2026-03-01T03:00:01Z";
    let began = "2026-03-01T03:00:01.100Z";

    assert!(remains(&request, pinned, &[]).await);
    let of_other = recorded(began, RunStatus::Published, &[&other]);
    assert!(remains(&request, pinned, &[of_other]).await);
    let tried_again = recorded(began, RunStatus::Broken, &[]);
    assert!(remains(&request, pinned, &[tried_again]).await);

    for event in [&request, &cron] {
        for status in [RunStatus::Published, RunStatus::Failed, RunStatus::Skipped] {
            let run = recorded(began, status, &[event, &other]);
            assert!(!remains(event, pinned, &[run]).await, "{status:?}");
        }
    }
}

#[tokio::test]
async fn a_pin_of_a_later_run_for_the_same_event_stays() {
    let changed = event(TriggerKind::Spec, "spec-ca978112ca1bbdca");
    let began = "2026-03-01T03:00:10Z";
    let run = [recorded(began, RunStatus::Failed, &[&changed])];
    assert!(!remains(&changed, "2026-03-01T03:00:10Z", &run).await);
    assert!(remains(&changed, "2026-03-01T03:00:10.001Z", &run).await);
}
