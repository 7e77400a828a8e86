//! Tests of what a batcher reports about its queue and its runs.

use super::*;

#[tokio::test]
async fn waiting_requests_are_reported_by_the_queue_independent_of_metrics() {
    let (batcher, runs, token) = gated(options());
    let submitted = batcher.submit(submission(&[0.0], LONG));
    let checks = async {
        until_running(&runs, 1).await;
        batcher.shared.metrics.queue_rows.set(5);
        assert!(!batcher.has_waiting());
        assert!(batcher.is_running());
        let second = batcher.submit(submission(&[1.0], LONG));
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
