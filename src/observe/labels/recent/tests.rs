//! Tests of `recent`.

use super::*;
use crate::core::model::task::Task;
use crate::core::request::id::Mint;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::drift::watch::tests::subject;
use crate::observe::quality::answer::RowAnswer;
use std::sync::Arc;

fn known() -> Arc<WatchSubject> {
    Arc::new(WatchSubject {
        task: Some(Task::Regression(0)),
        slices: vec!["word".to_owned()],
        ..subject(None)
    })
}

/// Adds predictions of one row; the value of each is its number.
fn add(recent: &mut Recent, subject: &Arc<WatchSubject>, ids: &[Uuid]) {
    for (at, id) in ids.iter().enumerate() {
        recent.add(FreshPrediction {
            id: *id,
            subject,
            answers: &[Some(RowAnswer::Value(at as f64)), None],
            parts: &[vec![format!("w{}", at % 3), String::new()]],
        });
    }
}

fn ids(count: usize) -> Vec<Uuid> {
    let mint = Mint::new();
    (0..count).map(|_| mint.mint()).collect()
}

#[test]
fn every_prediction_is_found_in_whatever_page_it_is() {
    let (mut recent, subject) = (Recent::new(64 << 20), known());
    let mut all = ids(3 * PAGE_PREDICTIONS + 17);
    // Requests are not answered in the order of their ids.
    all.chunks_exact_mut(7).for_each(<[Uuid]>::reverse);
    add(&mut recent, &subject, &all);
    assert_eq!(recent.pages.len(), 4);
    for (at, id) in all.iter().enumerate() {
        let found = recent.get(*id).expect("kept");
        assert_eq!(found.answers, [Some(RowAnswer::Value(at as f64)), None]);
        assert_eq!(found.parts, [[format!("w{}", at % 3), String::new()]]);
        assert!(Arc::ptr_eq(&found.subject, &subject));
    }
    let unknown = ids(1);
    assert!(!recent.has(unknown[0]) && recent.get(unknown[0]).is_none());
}

#[test]
fn the_oldest_pages_are_dropped_beyond_the_limit() {
    let (mut recent, subject) = (Recent::new(200_000), known());
    let all = ids(20 * PAGE_PREDICTIONS);
    add(&mut recent, &subject, &all);
    assert!(recent.bytes <= 200_000, "{}", recent.bytes);
    let sum: usize = recent.pages.iter().map(|p| p.segment.memory_bytes()).sum();
    assert_eq!(recent.bytes, sum);
    assert!(recent.has(all[all.len() - 1]) && !recent.has(all[0]));
}

#[test]
fn a_prediction_larger_than_the_limit_is_kept_until_the_next_page() {
    let (mut recent, subject) = (Recent::new(1_000), known());
    let all = ids(2);
    let answers = vec![Some(RowAnswer::Value(0.5)); 200_000];
    recent.add(FreshPrediction {
        id: all[0],
        subject: &subject,
        answers: &answers,
        parts: &[],
    });
    assert_eq!(recent.get(all[0]).expect("kept").answers.len(), 200_000);
    add(&mut recent, &subject, &all[1..]);
    assert!(!recent.has(all[0]) && recent.has(all[1]));
}
