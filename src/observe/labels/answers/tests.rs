//! Tests of `answers`: from the prediction through a store to the search by another server.

use super::lookup::{AnswerFinder, FinderTime, FoundAnswers};
use super::name::{AnswerObject, FOLDER, HOUR_MS, made_ms};
use super::sweep::{AnswerLimits, sweep};
use super::*;
use crate::core::hash::Digest;
use crate::core::model::task::Task;
use crate::core::model::{ModelName, Signature, Version};
use crate::observe::drift::watch::WatchSubject;
use crate::observe::quality::answer::RowAnswer;
use crate::storage::store::Store;
use crate::storage::store::faulty::{Fault, Faulty};
use chrono::{DateTime, Utc};
use futures_util::stream::TryStreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The middle of an hour.
const NOON: u64 = 490_053 * HOUR_MS + 1_000_000;

pub(super) fn subject() -> Arc<WatchSubject> {
    Arc::new(WatchSubject {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(1).expect("legal"),
        digest: Digest([1; 32]),
        signature: Signature::default(),
        features: Vec::new(),
        baseline: None,
        task: Some(Task::Regression(0)),
        slices: Vec::new(),
        rules: Default::default(),
    })
}

fn id(ms: u64, n: u64) -> Uuid {
    Uuid::from_u64_pair(ms << 16 | 7 << 12, 2 << 62 | n)
}

/// A store that fails on demand, and the answers of a server in it.
struct Bench {
    faults: Arc<Faulty>,
    records: Records,
    subject: Arc<WatchSubject>,
    answers: AnswerStore,
}

impl Bench {
    fn new() -> Self {
        let faults = Arc::<Faulty>::default();
        let records = Records::of(Store::of(faults.clone()), "default");
        Self {
            faults,
            answers: AnswerStore::new(records.clone(), Duration::from_secs(15)),
            records,
            subject: subject(),
        }
    }

    fn predict(&self, id: Uuid, value: f64) {
        let answers = [Some(RowAnswer::Value(value))];
        let answered = Answered {
            subject: &self.subject,
            prediction: id,
            inputs: &[],
            optional: &[],
            outputs: &[],
            answers: &answers,
            parts: &[],
        };
        assert!(self.answers.keep(&answered, Instant::now()));
    }

    async fn write(&self) -> Result<WrittenAnswers> {
        self.answers.write(Instant::now(), true).await
    }

    async fn find(&self, finder: &mut AnswerFinder, ids: &[Uuid]) -> FoundAnswers {
        let wanted: BTreeSet<Uuid> = ids.iter().copied().collect();
        let time = FinderTime {
            now: Instant::now(),
            hour: NOON / HOUR_MS,
        };
        let found = finder.find(&self.records, &wanted, time).await;
        found.expect("the store answers")
    }

    async fn keys(&self, kind: impl Fn(AnswerObject) -> bool) -> Vec<String> {
        let listed: Vec<_> = self
            .records
            .list(FOLDER)
            .try_collect()
            .await
            .expect("lists");
        let mut keys: Vec<String> = listed.into_iter().map(|(key, _)| key).collect();
        keys.retain(|key| AnswerObject::of(key).is_some_and(&kind));
        keys.sort();
        keys
    }

    async fn segments(&self) -> Vec<String> {
        self.keys(|object| matches!(object, AnswerObject::Segment(_)))
            .await
    }
}

fn run(test: impl AsyncFnOnce(Bench)) {
    crate::testing::block_on(test(Bench::new()));
}

fn value(found: &FoundAnswers, id: Uuid) -> Option<f64> {
    match found.found.get(&id)?.answers[0] {
        Some(RowAnswer::Value(value)) => Some(value),
        _ => None,
    }
}

#[test]
fn answers_of_every_segment_and_hour_are_found_by_another_server() {
    run(async |bench| {
        let ids: Vec<Uuid> = (0..300).map(|n| id(NOON - n * HOUR_MS / 100, n)).collect();
        for (n, id) in ids.iter().enumerate() {
            bench.predict(*id, n as f64);
            if n % 100 == 99 {
                bench.write().await.expect("written");
            }
        }
        let mut finder = AnswerFinder::default();
        let found = bench.find(&mut finder, &ids).await;
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(value(&found, *id), Some(n as f64), "{n}");
        }
        let absent = bench.find(&mut finder, &[id(NOON, 999)]).await;
        assert!(absent.found.is_empty() && absent.lost.is_empty());
    });
}

#[test]
fn a_segment_that_is_written_later_is_searched_too() {
    run(async |bench| {
        let (one, two, mut finder) = (id(NOON, 1), id(NOON, 2), AnswerFinder::default());
        bench.predict(one, 1.0);
        bench.write().await.expect("written");
        let found = bench.find(&mut finder, &[one, two]).await;
        assert_eq!((value(&found, one), value(&found, two)), (Some(1.0), None));

        bench.predict(two, 2.0);
        bench.write().await.expect("written");
        let found = bench.find(&mut finder, &[two]).await;
        assert_eq!(value(&found, two), Some(2.0));
    });
}

#[test]
fn more_segments_than_one_search_opens_are_searched_by_the_next_ones() {
    run(async |bench| {
        let ids: Vec<Uuid> = (0..150).map(|n| id(NOON + n, n)).collect();
        for id in &ids {
            bench.predict(*id, 1.0);
            bench.write().await.expect("written");
        }
        let (mut finder, mut found, mut searches) = (AnswerFinder::default(), BTreeSet::new(), 0);
        loop {
            let rest: Vec<Uuid> = ids
                .iter()
                .filter(|id| !found.contains(*id))
                .copied()
                .collect();
            let looked = bench.find(&mut finder, &rest).await;
            found.extend(looked.found.into_keys());
            searches += 1;
            if !looked.has_more {
                break;
            }
        }
        assert_eq!((found.len(), searches), (150, 3));
    });
}

#[test]
fn a_store_that_fails_keeps_the_answers_in_memory_until_it_works() {
    run(async |bench| {
        bench.predict(id(NOON, 1), 1.0);
        for fault in [Fault::LostRequest, Fault::LostAnswer] {
            bench.faults.plan(&[fault]);
            bench.write().await.expect_err("the store failed");
        }
        assert!(bench.faults.is_through());
        bench.write().await.expect("written");
        assert_eq!(bench.segments().await.len(), 1, "once");
        let found = bench
            .find(&mut AnswerFinder::default(), &[id(NOON, 1)])
            .await;
        assert_eq!(value(&found, id(NOON, 1)), Some(1.0));
    });
}

#[test]
fn lost_answers_are_noted_so_that_every_server_knows_the_reason() {
    run(async |bench| {
        let span = TimeSpan {
            from_ms: NOON,
            to_ms: NOON + 10,
        };
        bench.answers.lose(LossReason::Queue, span, 7);
        bench.faults.plan(&[Fault::LostRequest]);
        bench.write().await.expect_err("the store failed");
        bench.write().await.expect("written");

        let asked = [id(NOON + 5, 1), id(NOON + 11, 2)];
        let looked = bench.find(&mut AnswerFinder::default(), &asked).await;
        assert_eq!(looked.lost.get(&asked[0]), Some(&LossReason::Queue));
        assert_eq!(looked.lost.get(&asked[1]), None);
    });
}

#[test]
fn damaged_segments_are_skipped_and_those_that_cannot_be_read_are_tried_again() {
    run(async |bench| {
        bench.predict(id(NOON, 1), 1.0);
        bench.write().await.expect("written");
        bench.predict(id(NOON, 2), 2.0);
        bench.write().await.expect("written");
        let key = bench.segments().await.remove(0);
        bench
            .records
            .overwrite(&key, b"ortusans nonsense".as_slice().into())
            .await
            .expect("written");

        let (asked, mut finder) = ([id(NOON, 1), id(NOON, 2)], AnswerFinder::default());
        bench.faults.plan(&[Fault::Unreadable]);
        let looked = bench.find(&mut finder, &asked).await;
        assert!(looked.found.len() < 2);
        let looked = bench.find(&mut finder, &asked).await;
        assert_eq!(looked.found.len(), 1, "the sound one");
    });
}

#[test]
fn a_sweep_deletes_what_is_too_old_and_then_the_oldest_beyond_the_limit() {
    run(async |bench| {
        for hours in [100, 3, 2, 1] {
            let made = id(NOON - hours * HOUR_MS, hours);
            bench.predict(made, hours as f64);
            bench.write().await.expect("written");
        }
        let segments = bench.segments().await;
        assert_eq!(segments.len(), 4);
        let now = DateTime::<Utc>::from_timestamp_millis(NOON as i64).expect("a time");
        let sweep_to = async |bytes_max| {
            let limits = AnswerLimits {
                bytes_max,
                age_max: Duration::from_secs(24 * 3600),
            };
            sweep(&bench.records, limits, now).await.expect("swept")
        };

        let swept = sweep_to(u64::MAX).await;
        assert_eq!((swept.kept, swept.removed), (3, 2), "its rows too");
        assert_eq!(swept.since_ms, Some(NOON - 3 * HOUR_MS));
        let swept = sweep_to(swept.kept_bytes - 1).await;
        assert_eq!(swept.since_ms, Some(NOON - 2 * HOUR_MS));
        let oldest = [id(NOON - 3 * HOUR_MS, 3), id(NOON - 2 * HOUR_MS, 2)];
        let looked = bench.find(&mut AnswerFinder::default(), &oldest).await;
        assert_eq!(looked.found.len(), 1);
        let swept = sweep_to(0).await;
        assert_eq!((swept.kept, swept.since_ms), (0, None));
    });
}

#[test]
fn predicted_rows_are_read_by_other_runs_and_counted_once() {
    run(async |bench| {
        bench.predict(id(NOON, 1), 1.0);
        bench.write().await.expect("written");
        let time = |ms: u64| DateTime::<Utc>::from_timestamp_millis(ms as i64).expect("a time");
        let (since, now) = (time(NOON - HOUR_MS), time(NOON));

        let other = AnswerStore::new(bench.records.clone(), Duration::from_secs(15));
        let mut reader = other.tallies();
        let first = reader
            .read(&bench.records, since, now)
            .await
            .expect("reads");
        assert_eq!((first.len(), first[0].hour), (1, NOON / HOUR_MS));
        assert_eq!(first[0].rows[0].1, 1);
        let again = reader
            .read(&bench.records, since, now)
            .await
            .expect("reads");
        assert!(again.is_empty());

        bench.predict(id(NOON, 2), 1.0);
        bench.write().await.expect("written");
        let later = reader
            .read(&bench.records, since, now)
            .await
            .expect("reads");
        assert_eq!(later[0].rows[0].1, 2, "the whole hour");

        let mut own = bench.answers.tallies();
        let of_itself = own.read(&bench.records, since, now).await.expect("reads");
        assert!(of_itself.is_empty(), "a run counts its own rows");
        assert_eq!(made_ms(id(NOON, 1)), NOON);
    });
}
