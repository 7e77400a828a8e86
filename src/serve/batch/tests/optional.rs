//! Requests that give optional inputs: each runs alone, whatever waits beside it.

use super::*;
use crate::core::model::optional::OptionalTensor;

/// A request of one row that gives k, if it has a value.
fn asked(x: f32, k: Option<f32>) -> Submission {
    let mut submission = submission(&[x], LONG);
    submission.inputs.optional = k
        .map(|k| OptionalTensor {
            name: "k".to_owned(),
            tensor: Tensor::from_f32(vec![1], &[k]).expect("fits"),
        })
        .into_iter()
        .collect();
    submission
}

/// The numbers of all outputs: a fake session answers what it was given.
fn said(answer: Result<Done>) -> Vec<f32> {
    answer
        .expect("served")
        .outputs
        .iter()
        .flat_map(floats)
        .collect()
}

#[tokio::test]
async fn a_request_with_an_optional_input_is_merged_with_no_other() {
    let (batcher, runs, token) = gated(options());
    let first = batcher.ask(asked(0.0, None));
    let rest = async {
        until_running(&runs, 1).await;
        let submit = |x, k| batcher.ask(asked(x, k));
        let (a, b, c, d, e, ()) = tokio::join!(
            submit(1.0, None),
            submit(2.0, Some(20.0)),
            submit(3.0, Some(20.0)),
            submit(4.0, Some(40.0)),
            submit(5.0, None),
            async {
                for _ in 0..5 {
                    token.send(()).expect("the lane listens");
                }
            }
        );
        [a, b, c, d, e].map(said)
    };

    let (first, rest) = tokio::join!(first, rest);
    assert_eq!(said(first), [0.0]);
    let wanted = [
        vec![1.0],
        vec![2.0, 20.0],
        vec![3.0, 20.0],
        vec![4.0, 40.0],
        vec![5.0],
    ];
    assert_eq!(rest, wanted);
    let mut rows = runs.lock().split_off(1);
    rows.sort_unstable();
    assert_eq!(rows, [1, 1, 1, 2]);
    assert_eq!(batcher.shared.state.lock().queue.rows(), 0);
}

#[tokio::test]
async fn a_request_that_runs_alone_does_not_wait_for_others() {
    let slow = BatchOptions {
        batch_delay: LONG,
        ..options()
    };
    let (batcher, runs) = batcher(Script::Echo, slow);
    assert_eq!(said(batcher.ask(asked(1.0, Some(2.0))).await), [1.0, 2.0]);
    assert_eq!(*runs.lock(), [1]);
}

#[tokio::test]
async fn an_optional_input_does_not_lift_the_limit_of_rows() {
    let (batcher, _) = batcher(Script::Echo, options());
    let mut large = asked(1.0, Some(2.0));
    large.inputs.required = submission(&[0.0; 9], LONG).inputs.required;
    let error = batcher.ask(large).await.expect_err("over");
    assert!(error.message.contains("has 9 rows"), "{error}");
}
