//! Changes of one writer: pushes, champions, rollbacks, signatures.

use super::{model_file, name, operator, push};
use crate::core::error::Kind;
use crate::core::model::{Alias, Version};
use crate::registry::commands::Operator;
use crate::registry::commands::push::Push;
use crate::registry::log::Log;
use crate::testing::graphs;
use std::io::Write as _;

pub(super) async fn pushing_again_changes_nothing(log: &Log) {
    let operator = operator(log, "ann");
    assert_eq!(push(&operator, "m", 1.0, None).await, (1, true));
    assert_eq!(push(&operator, "m", 1.0, None).await, (1, false));
    assert_eq!(
        push(&operator, "m", 2.0, Some(Alias::champion())).await,
        (2, true)
    );
    assert_eq!(push(&operator, "m", 1.0, None).await, (1, false));
    let state = log.load().await.expect("loads");
    assert_eq!((state.seq, state.void.len()), (2, 0));
    let verified = operator.verify(&|_| {}).await.expect("whole");
    assert_eq!((verified.entries, verified.blobs), (2, 4));
    let file = model_file(1.0);
    let collision = Push {
        path: file.path().to_owned(),
        ..Push::default()
    };

    let error = operator
        .push(&name("M"), &collision, &|_| {})
        .await
        .expect_err("a model 'm' exists");
    assert!(error.message.contains("by case alone"), "{error}");
}

/// The last entry, the champion and the previous champion of model m.
async fn standing(log: &Log) -> (u64, Option<u64>, Option<u64>) {
    let state = log.load().await.expect("loads");
    let model = &state.models["m"];
    (
        state.seq,
        model.champion().map(Version::number),
        model.previous().map(Version::number),
    )
}

pub(super) async fn champions_change_in_one_entry_and_one_that_was_rolled_back_is_no_rollback_target(
    log: &Log,
) {
    let operator = operator(log, "ann");
    for mark in [1.0, 2.0, 3.0] {
        push(&operator, "m", mark, Some(Alias::champion())).await;
    }
    assert_eq!(standing(log).await, (3, Some(3), Some(2)));

    roll_back_to_the_first(&operator, log).await;

    operator
        .promote(&name("m"), "3", false)
        .await
        .expect("promoted");
    assert_eq!(standing(log).await, (6, Some(3), Some(1)));
    let again = operator
        .promote(&name("m"), "champion", false)
        .await
        .expect("already so");
    assert_eq!((again.seq, standing(log).await.0), (None, 6));

    assert!(
        operator.retire(&name("m"), "3").await.is_err(),
        "the champion is in use"
    );
    operator.retire(&name("m"), "1").await.expect("retired");
    assert_eq!(standing(log).await, (7, Some(3), None));

    refuse_to_promote(&operator, "m", "1", Kind::FailedPrecondition).await;
    refuse_to_promote(&operator, "m", "9", Kind::NotFound).await;
    refuse_to_promote(&operator, "q", "1", Kind::NotFound).await;

    let history = operator.history(&name("m"), None).await.expect("a history");
    let champions: Vec<_> = history
        .iter()
        .map(|h| h.champion.unwrap_or_default())
        .collect();
    assert_eq!(champions, [1, 2, 3, 2, 1, 3, 3]);
}

/// Rolls back from version 3 until there is nothing left to roll back to.
async fn roll_back_to_the_first(operator: &Operator, log: &Log) {
    operator.rollback(&name("m")).await.expect("rolled back");
    assert_eq!(standing(log).await, (4, Some(2), Some(1)));

    operator
        .rollback(&name("m"))
        .await
        .expect("rolled back further");
    assert_eq!(standing(log).await, (5, Some(1), None));

    assert!(
        operator.rollback(&name("m")).await.is_err(),
        "there is nothing before the first"
    );
}

async fn refuse_to_promote(operator: &Operator, model: &str, target: &str, kind: Kind) {
    let error = operator
        .promote(&name(model), target, false)
        .await
        .expect_err("refused");
    assert_eq!(error.kind, kind, "{error}");
}

pub(super) async fn a_changed_signature_needs_explicit_permission(log: &Log) {
    let operator = operator(log, "ann");
    push(&operator, "m", 1.0, Some(Alias::champion())).await;
    let mut other = tempfile::NamedTempFile::new().expect("a file");
    other.write_all(&graphs::lookup()).expect("written");
    let mut push = Push {
        path: other.path().to_owned(),
        ..Push::default()
    };

    let error = operator
        .push(&name("m"), &push, &|_| {})
        .await
        .expect_err("input x changes its shape");
    assert!(
        error.message.contains("input 'x' was") || error.message.contains("output 'y'"),
        "{error}"
    );

    push.allow_signature_change = true;
    assert_eq!(
        operator
            .push(&name("m"), &push, &|_| {})
            .await
            .expect("allowed")
            .version,
        2
    );

    assert!(operator.promote(&name("m"), "2", false).await.is_err());
    operator
        .promote(&name("m"), "2", true)
        .await
        .expect("allowed");
}
