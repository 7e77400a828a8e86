//! Requests run alone until merging is released, whatever their number of rows.

use super::*;

#[tokio::test]
async fn requests_run_alone_until_merging_is_released() {
    let (batcher, runs, token) = gated(options());
    batcher.hold_merging();
    // More rows than a batch may have: nothing is known of rows yet.
    let many = [1.0; 9];
    let first = batcher.ask(submission(&many, LONG));
    let rest = async {
        until_running(&runs, 1).await;
        tokio::join!(
            batcher.ask(submission(&[1.0], LONG)),
            batcher.ask(submission(&[2.0], LONG)),
            async {
                for _ in 0..3 {
                    token.send(()).expect("the lane listens");
                }
            }
        )
    };
    let (first, (one, two, ())) = tokio::join!(first, rest);
    assert!(first.is_ok() && one.is_ok() && two.is_ok());
    assert_eq!(*runs.lock(), [9, 1, 1]);

    batcher.release_merging();
    let first = batcher.ask(submission(&[0.0], LONG));
    let rest = async {
        until_running(&runs, 4).await;
        tokio::join!(
            batcher.ask(submission(&[1.0], LONG)),
            batcher.ask(submission(&[2.0], LONG)),
            async {
                for _ in 0..2 {
                    token.send(()).expect("the lane listens");
                }
            }
        )
    };
    let (first, (one, two, ())) = tokio::join!(first, rest);
    assert!(first.is_ok() && one.is_ok() && two.is_ok());
    assert_eq!(runs.lock()[3..], [1, 2]);
}
