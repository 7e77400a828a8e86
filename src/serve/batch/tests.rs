//! Tests of lanes with scripted sessions. Batch forming and the queue, which are pure, have files
//! of their own.

mod answers;
mod filled;
mod forming;
mod hanging;
mod held;
mod kept;
mod optional;
pub(in crate::serve::batch) mod orders;
mod padding;
mod queueing;
mod rechecking;
mod simulation;
mod waiting;

use super::cost::BatchCost;
use super::*;
use crate::core::model::{ModelName, Version};
use crate::observe::metrics::Metrics;
use crate::onnx::runtime::fake::{FakeSession, Script, floats};
use parking_lot::Mutex;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// The metrics of a servable.
fn metrics() -> Arc<ServableMetrics> {
    let metrics = Metrics::new().expect("metrics");
    metrics.servable(
        &ModelName::parse("m").expect("legal"),
        Version::new(1).expect("legal"),
    )
}

/// Returns the parts of a batcher with one fake session, and the receiver that resolves when it
/// ends.
fn parts(session: FakeSession, options: BatchOptions) -> (BatcherParts, oneshot::Receiver<()>) {
    let (ended, end) = oneshot::channel();
    let parts = BatcherParts {
        name: "m:1".to_owned(),
        sessions: vec![Box::new(session)],
        reopen: Box::new(|| Err(Error::internal("this test opens no second session"))),
        options,
        recheck: None,
        metrics: metrics(),
        ended,
    };

    (parts, end)
}

fn batcher(script: Script, options: BatchOptions) -> (Batcher, Arc<Mutex<Vec<usize>>>) {
    let runs = Arc::<Mutex<Vec<usize>>>::default();
    let session = FakeSession {
        script,
        runs: Arc::clone(&runs),
    };
    let batcher = Batcher::start(parts(session, options).0).expect("starts");
    // A lane that is still starting would take the first request alone.
    while batcher.shared.state.lock().idle_lanes == 0 {
        std::thread::yield_now();
    }
    (batcher, runs)
}

/// Learned from one run of each size, which took no time: batches of every size pay.
fn free() -> BatchCost {
    let mut cost = BatchCost::default();
    for rows in [1, 2, 4, 8] {
        cost.note(rows, Duration::ZERO);
    }
    cost
}

fn options() -> BatchOptions {
    BatchOptions {
        batched: true,
        batch_rows_max: 8,
        sizes: None,
        queue_rows_max: 16,
        queue_timeout: LONG,
        batch_delay: Duration::ZERO,
        cost: free(),
        // How long a run takes that waits for a test says nothing.
        learns: false,
        in_place: false,
        shape_change: None,
        lane_niceness: 0,
        padding: None,
        inputs: Arc::default(),
    }
}

fn submission(values: &[f32], timeout: Duration) -> Submission {
    let tensor = Tensor::from_f32(vec![values.len(), 1], values).expect("fits");
    Submission {
        inputs: CheckedInputs {
            required: vec![tensor],
            optional: Vec::new(),
        },
        deadline: Some(Deadline::after(Instant::now(), timeout)),
        priority: 0,
    }
}

impl Batcher {
    /// Submits a request and waits for its answer.
    async fn ask(&self, submission: Submission) -> Result<Done> {
        self.submit(submission)?.await
    }
}

/// A request without a deadline.
fn patient(value: f32) -> Submission {
    Submission {
        deadline: None,
        ..submission(&[value], LONG)
    }
}

const LONG: Duration = Duration::from_secs(60);

/// Starts a batcher whose lane makes one run for each token.
fn gated(options: BatchOptions) -> (Batcher, Arc<Mutex<Vec<usize>>>, std::sync::mpsc::Sender<()>) {
    let (token, tokens) = std::sync::mpsc::channel();
    let (batcher, runs) = batcher(Script::Gate(Arc::new(Mutex::new(tokens))), options);
    (batcher, runs, token)
}

/// Waits until the lane has taken `rows` and blocks inside the run.
async fn until_running(runs: &Mutex<Vec<usize>>, count: usize) {
    while runs.lock().len() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn waiting_requests_run_in_one_batch_and_get_their_own_rows() {
    let (batcher, runs, token) = gated(options());
    let first = batcher.ask(submission(&[0.0], LONG));
    let rest = async {
        until_running(&runs, 1).await;
        let (one, two, _) = tokio::join!(
            batcher.ask(submission(&[1.0], LONG)),
            batcher.ask(submission(&[2.0, 3.0], LONG)),
            async {
                for _ in 0..2 {
                    token.send(()).expect("the lane listens");
                }
            }
        );
        (one, two)
    };

    let (first, (one, two)) = tokio::join!(first, rest);
    assert_eq!(floats(&first.expect("served").outputs[0]), [0.0]);
    let (one, two) = (one.expect("served"), two.expect("served"));
    assert_eq!(floats(&one.outputs[0]), [1.0]);
    assert_eq!(floats(&two.outputs[0]), [2.0, 3.0]);
    assert_eq!(two.timing.batch_rows, 3);
    assert_eq!(*runs.lock(), [1, 3]);
}

#[tokio::test]
async fn only_the_failing_request_of_a_batch_fails() {
    let (batcher, _runs) = batcher(Script::FailOn(666.0), options());
    let all = [1.0, 2.0, 666.0, 4.0].map(|v| batcher.ask(submission(&[v], LONG)));
    let [a, b, c, d] = all;
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    assert_eq!(
        c.expect_err("poison").kind,
        crate::core::error::Kind::InvalidArgument
    );
    for (answer, value) in [(a, 1.0), (b, 2.0), (d, 4.0)] {
        assert_eq!(floats(&answer.expect("neighbour").outputs[0]), [value]);
    }
}

#[tokio::test]
async fn requests_in_place_that_arrive_together_run_in_one_batch_on_the_calling_thread() {
    let (batcher, runs) = batcher(
        Script::Echo,
        BatchOptions {
            in_place: true,
            ..options()
        },
    );

    let (one, two, three) = tokio::join!(
        batcher.ask(submission(&[1.0], LONG)),
        batcher.ask(submission(&[2.0, 3.0], LONG)),
        batcher.ask(submission(&[4.0], LONG)),
    );

    assert_eq!(floats(&one.expect("served").outputs[0]), [1.0]);
    assert_eq!(floats(&two.expect("served").outputs[0]), [2.0, 3.0]);
    assert_eq!(floats(&three.expect("served").outputs[0]), [4.0]);
    assert_eq!(*runs.lock(), [4]);
}

#[tokio::test]
async fn requests_in_place_without_a_free_session_go_to_a_lane() {
    let (batcher, _) = batcher(
        Script::Echo,
        BatchOptions {
            in_place: true,
            ..options()
        },
    );

    let slot = batcher.shared.slot(0);
    let busy = slot.lane.lock();
    let answer = batcher.ask(submission(&[1.0], LONG));
    let release = async {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        drop(busy);
    };

    let (answer, ()) = tokio::join!(answer, release);
    assert_eq!(floats(&answer.expect("served").outputs[0]), [1.0]);
}

#[test]
fn consecutive_long_runs_in_place_end_runs_in_place() {
    let (batcher, _) = batcher(
        Script::Echo,
        BatchOptions {
            in_place: true,
            ..options()
        },
    );

    let judge = |ms: u32| {
        lane::in_place::judge(&batcher.shared, MS * ms);
        batcher.shared.is_in_place()
    };
    assert_eq!(
        [judge(11), judge(11), judge(1), judge(11), judge(11)],
        [true; 5]
    );
    assert_eq!([judge(10), judge(1), judge(0)], [false; 3]);
}

#[tokio::test]
async fn a_cancelled_request_is_never_run() {
    let (batcher, runs, token) = gated(options());
    let first = batcher.ask(submission(&[0.0], LONG));
    let rest = async {
        until_running(&runs, 1).await;
        let gone = tokio::time::timeout(MS, batcher.ask(submission(&[9.0], LONG))).await;
        assert!(gone.is_err());
        assert_eq!(batcher.shared.state.lock().queue.rows(), 0);
        token.send(()).expect("the lane listens");
    };

    let (first, ()) = tokio::join!(first, rest);
    assert!(first.is_ok());
    assert_eq!(*runs.lock(), [1]);
}

#[tokio::test]
async fn a_late_request_is_refused_without_running() {
    let (batcher, runs, token) = gated(options());
    let first = batcher.ask(submission(&[0.0], LONG));
    let rest = async {
        until_running(&runs, 1).await;
        let late = batcher.ask(submission(&[9.0], MS * 5)).await;
        assert_eq!(
            late.expect_err("late").kind,
            crate::core::error::Kind::DeadlineExceeded
        );
        token.send(()).expect("the lane listens");
    };

    let (first, ()) = tokio::join!(first, rest);
    assert!(first.is_ok());
    let passed = batcher.ask(submission(&[1.0], Duration::ZERO)).await;
    assert_eq!(
        passed.expect_err("passed").kind,
        crate::core::error::Kind::DeadlineExceeded
    );
    assert_eq!(*runs.lock(), [1]);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let small = BatchOptions {
        queue_rows_max: 8,
        ..options()
    };
    let (batcher, runs, token) = gated(small);
    let first = batcher.ask(submission(&[0.0], LONG));
    let rest = async {
        until_running(&runs, 1).await;
        let mut waiting = Box::pin(batcher.ask(submission(&[1.0; 8], LONG)));
        assert!(tokio::time::timeout(MS, &mut waiting).await.is_err());
        let full = batcher.ask(submission(&[2.0], LONG)).await;
        assert_eq!(
            full.expect_err("full").kind,
            crate::core::error::Kind::ResourceExhausted
        );
        token
            .send(())
            .and_then(|()| token.send(()))
            .expect("the lane listens");
        waiting.await
    };

    let (first, waited) = tokio::join!(first, rest);
    assert!(first.is_ok() && waited.is_ok());
}

#[tokio::test]
async fn rows_are_limited_per_request() {
    let (batcher, _) = batcher(Script::Echo, options());
    assert!(batcher.ask(submission(&[0.0; 8], LONG)).await.is_ok());
    let over = batcher
        .ask(submission(&[0.0; 9], LONG))
        .await
        .expect_err("over");
    assert!(over.message.contains("has 9 rows"), "{over}");
}

#[tokio::test]
async fn a_panicking_run_fails_its_batch_and_the_lane_goes_on() {
    let (batcher, runs) = batcher(Script::Panic, options());
    for _ in 0..2 {
        let failed = batcher
            .ask(submission(&[1.0], LONG))
            .await
            .expect_err("panicked");
        assert_eq!(failed.kind, crate::core::error::Kind::Internal);
    }

    assert_eq!(*runs.lock(), [1, 1]);
}

#[test]
fn dropping_the_batcher_ends_its_lanes() {
    let session = FakeSession {
        script: Script::Echo,
        runs: Arc::default(),
    };
    let (parts, end) = parts(session, options());
    let batcher = Batcher::start(parts).expect("starts");
    drop(batcher);
    // The sender is dropped when the lanes have ended.
    assert!(end.blocking_recv().is_err());
}
