//! Tests of what a batcher reports about its queue and its runs.

use super::*;

#[tokio::test]
async fn waiting_requests_are_reported_by_the_queue_independent_of_metrics() {
    let (batcher, runs, token) = gated(options());
    let submitted = batcher.ask(submission(&[0.0], LONG));
    let checks = async {
        until_running(&runs, 1).await;
        batcher.shared.metrics.queue_rows.set(5);
        assert!(!batcher.has_waiting());
        assert!(batcher.is_running());
        let second = batcher.ask(submission(&[1.0], LONG));
        let look = async {
            batcher.shared.metrics.queue_rows.set(0);
            assert!(batcher.has_waiting());
            token.send(()).expect("the lane listens");
            token.send(()).expect("the lane listens");
        };
        let (second, ()) = tokio::join!(second, look);
        second.expect("served");
        assert!(!batcher.has_waiting());
    };

    let (first, ()) = tokio::join!(submitted, checks);
    first.expect("served");
}

#[tokio::test]
async fn a_request_without_a_deadline_waits_in_the_queue_as_long_as_is_set() {
    let impatient = BatchOptions {
        queue_timeout: MS * 20,
        ..options()
    };
    let (batcher, runs, token) = gated(impatient);
    let first = batcher.ask(patient(1.0));
    let rest = async {
        until_running(&runs, 1).await;
        let refused = batcher.ask(patient(2.0)).await.expect_err("waited");
        assert_eq!(refused.kind, crate::core::error::Kind::ResourceExhausted);
        assert!(refused.message.contains("queue_timeout"), "{refused}");
        assert_eq!(batcher.shared.state.lock().queue.rows(), 0);
        token.send(()).expect("the lane listens");
    };

    // It runs longer than it may wait.
    let (first, ()) = tokio::join!(first, rest);
    assert_eq!(floats(&first.expect("served").outputs[0]), [1.0]);
    assert_eq!(*runs.lock(), [1]);
}
