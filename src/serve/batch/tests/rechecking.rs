//! Tests of requests that lanes run again alone: what ends batching, and that nothing waits for it.

use super::*;
use crate::onnx::batchability::invariance::InvariantSizes;
use crate::onnx::runtime::fake::Flag;
use crate::serve::batch::recheck::{DISAGREED, Sample};
use crate::serve::batch::watch::{HANG_GRACE, RUN_GRACE};
use crate::serve::batch::watchdog::check_servable;

/// A batcher that rechecks as often as its budget allows, the number of rows of its runs, and its
/// end.
struct Rechecked {
    batcher: Batcher,
    runs: Arc<Mutex<Vec<usize>>>,
    end: oneshot::Receiver<()>,
}

impl Rechecked {
    fn start(script: Script, in_place: bool) -> Self {
        let options = BatchOptions {
            in_place,
            ..options()
        };
        Self::start_with(script, options)
    }

    fn start_with(script: Script, options: BatchOptions) -> Self {
        let runs = Arc::<Mutex<Vec<usize>>>::default();
        let session = FakeSession {
            script,
            runs: Arc::clone(&runs),
        };
        let (mut parts, end) = parts(session, options);
        parts.recheck = Some(RecheckOptions {
            model: ModelName::parse("m").expect("legal"),
            version: Version::new(1).expect("legal"),
            outputs: vec!["y".to_owned()],
            interval: Duration::from_nanos(1),
        });
        let seen = Arc::clone(&runs);
        parts.reopen = Box::new(move || {
            Ok(Box::new(FakeSession {
                script: Script::Echo,
                runs: Arc::clone(&seen),
            }))
        });

        let batcher = Batcher::start(parts).expect("starts");
        while batcher.shared.state.lock().idle_lanes == 0 {
            std::thread::yield_now();
        }
        Self { batcher, runs, end }
    }

    /// One whose runs each wait for a token, on a lane.
    fn start_gated() -> (Self, std::sync::mpsc::Sender<()>) {
        let (token, tokens) = std::sync::mpsc::channel();
        let gate = Script::Gate(Arc::new(Mutex::new(tokens)));
        (Self::start(gate, false), token)
    }

    /// Submits two requests that run in one batch if requests are merged, in place.
    async fn ask_two(&self, one: f32, two: f32) -> [f32; 2] {
        let (one, two) = tokio::join!(
            self.batcher.ask(submission(&[one], LONG)),
            self.batcher.ask(submission(&[two], LONG)),
        );
        [one, two].map(|answer| floats(&answer.expect("served").outputs[0])[0])
    }

    /// Leaves a sample to the lane.
    fn put(&self, sample: Sample) {
        assert!(self.batcher.shared.rechecks.claim());
        self.batcher.shared.state.lock().sample = Some(sample);
    }

    fn metrics(&self) -> &ServableMetrics {
        &self.batcher.shared.metrics
    }

    async fn until(&self, what: impl Fn(&ServableMetrics) -> bool) {
        while !what(self.metrics()) {
            tokio::task::yield_now().await;
        }
    }
}

/// A sample of two rows that an echoing model answered in a batch of their own.
fn two_rows(ended: Instant) -> Sample {
    let inputs = submission(&[1.0, 2.0], LONG).inputs.required;
    Sample {
        padded: None,
        kept: None,
        batch: inputs.clone(),
        inputs,
        before: 0,
        rows: 2,
        total: 2,
        ended,
        run: Duration::ZERO,
    }
}

#[tokio::test]
async fn the_first_disagreement_ends_batching_at_once() {
    let rechecked = Rechecked::start(Script::Scaled, true);
    assert_eq!(rechecked.ask_two(100.0, 200.0).await, [0.5, 1.0]);
    // Only the request of 100 shows it: 200 is the largest in the batch as it is alone.
    while rechecked.batcher.unbatched().is_none() {
        rechecked.ask_two(100.0, 200.0).await;
    }

    assert_eq!(rechecked.batcher.unbatched(), Some(DISAGREED));
    assert_eq!(rechecked.metrics().batch_disagreements.get(), 1);
    let before = rechecked.runs.lock().len();
    assert_eq!(rechecked.ask_two(100.0, 200.0).await, [1.0, 1.0]);
    assert_eq!(rechecked.runs.lock()[before..], [1, 1], "each alone");
    assert_eq!(rechecked.metrics().batch_disagreements.get(), 1);
}

#[tokio::test]
async fn rows_that_are_kept_apart_stay_batched_and_rechecks_are_not_counted_as_requests() {
    let rechecked = Rechecked::start(Script::Echo, true);
    let mut asked = 0;
    while rechecked.metrics().batch_rechecks.get() < 3 {
        assert_eq!(rechecked.ask_two(1.0, 2.0).await, [1.0, 2.0]);
        asked += 1;
    }

    assert_eq!(rechecked.batcher.unbatched(), None);
    assert_eq!(rechecked.metrics().batch_disagreements.get(), 0);
    let (rows, batches) = (
        rechecked.metrics().stats.rows(),
        rechecked.metrics().stats.runs(),
    );
    assert_eq!(rows, 2 * asked);
    assert!(batches <= 2 * asked, "{batches} of {asked}");
}

#[tokio::test]
async fn a_model_that_is_not_deterministic_stays_batched_and_is_no_longer_rechecked() {
    let rechecked = Rechecked::start(Script::Drawn, true);
    while rechecked.metrics().batch_rechecks.get() == 0 {
        rechecked.ask_two(1.0, 2.0).await;
    }

    let later = Instant::now() + LONG;
    assert!(!rechecked.batcher.shared.rechecks.is_due(later));
    assert_eq!(rechecked.batcher.unbatched(), None);
    assert_eq!(rechecked.metrics().batch_disagreements.get(), 0);
}

#[tokio::test]
async fn rounding_that_depends_on_the_number_of_rows_is_no_disagreement() {
    // More than a session of a provider that is no CPU may round, and less than 1 %.
    let rechecked = Rechecked::start(Script::Sized(8e-3), true);
    while rechecked.metrics().batch_rechecks.get() < 3 {
        rechecked.ask_two(1.0, 1.0).await;
        assert_eq!(rechecked.batcher.unbatched(), None);
    }
    assert_eq!(rechecked.metrics().batch_disagreements.get(), 0);
}

#[tokio::test]
async fn where_bits_are_promised_each_other_bit_is_a_disagreement() {
    let options = |sizes: &[usize]| BatchOptions {
        in_place: true,
        sizes: Some(InvariantSizes::of(sizes)),
        ..options()
    };
    // The request alone is filled up to two rows too.
    let rechecked = Rechecked::start_with(Script::Sized(1e-6), options(&[2]));
    while rechecked.metrics().batch_rechecks.get() < 3 {
        rechecked.ask_two(1.0, 1.0).await;
    }
    assert_eq!(rechecked.batcher.unbatched(), None);

    let rechecked = Rechecked::start_with(Script::Sized(1e-6), options(&[1, 2]));
    while rechecked.batcher.unbatched().is_none() {
        rechecked.ask_two(1.0, 1.0).await;
    }
    assert_eq!(rechecked.metrics().batch_disagreements.get(), 1);
}

#[tokio::test]
async fn a_lane_rechecks_after_the_requests_that_wait() {
    let (rechecked, token) = Rechecked::start_gated();
    let batcher = &rechecked.batcher;
    let first = batcher.ask(submission(&[0.0], LONG));
    let rest = async {
        until_running(&rechecked.runs, 1).await;
        let pair = async {
            tokio::join!(
                batcher.ask(submission(&[1.0, 2.0, 3.0], LONG)),
                batcher.ask(submission(&[4.0, 5.0, 6.0], LONG)),
            )
        };
        let last = async {
            token.send(()).expect("the lane listens");
            until_running(&rechecked.runs, 2).await;
            let last = batcher.ask(submission(&[7.0], LONG));
            let tokens = async {
                token.send(()).expect("the lane listens");
                until_running(&rechecked.runs, 3).await;
                token.send(()).expect("the lane listens");
                until_running(&rechecked.runs, 4).await;
                assert!(!batcher.is_running(), "a recheck is no request");
                token.send(()).expect("the lane listens");
            };
            tokio::join!(last, tokens).0
        };
        tokio::join!(pair, last)
    };
    let (first, ((one, two), last)) = tokio::join!(first, rest);

    for answer in [first, one, two, last] {
        assert!(answer.is_ok());
    }
    rechecked.until(|m| m.batch_rechecks.get() == 1).await;
    assert_eq!(*rechecked.runs.lock(), [1, 6, 1, 3]);
}

#[tokio::test]
async fn a_sample_that_no_lane_was_idle_for_runs_before_the_requests_that_wait() {
    let (rechecked, token) = Rechecked::start_gated();
    let batcher = &rechecked.batcher;
    let first = batcher.ask(submission(&[0.0], LONG));
    let rest = async {
        until_running(&rechecked.runs, 1).await;
        let long_ago = Instant::now().checked_sub(Duration::from_secs(2));
        rechecked.put(two_rows(long_ago.expect("the machine runs for longer")));
        let second = batcher.ask(submission(&[1.0], LONG));
        let tokens = async {
            for _ in 0..3 {
                token.send(()).expect("the lane listens");
            }
        };
        tokio::join!(second, tokens).0
    };
    let (first, second) = tokio::join!(first, rest);

    assert!(first.is_ok() && second.is_ok());
    assert_eq!(*rechecked.runs.lock(), [1, 2, 1]);
}

#[tokio::test]
async fn cancelled_requests_are_not_run_again() {
    let (rechecked, token) = Rechecked::start_gated();
    let batcher = &rechecked.batcher;
    let first = batcher.ask(submission(&[0.0], LONG));
    let rest = async {
        until_running(&rechecked.runs, 1).await;
        let mut pair = Box::pin(async {
            tokio::join!(
                batcher.ask(submission(&[1.0], LONG)),
                batcher.ask(submission(&[2.0], LONG)),
            )
        });
        assert!(tokio::time::timeout(MS, &mut pair).await.is_err());
        token.send(()).expect("the lane listens");
        until_running(&rechecked.runs, 2).await;
        drop(pair);
        token.send(()).expect("the lane listens");
        token.send(()).expect("the lane listens");
        batcher.ask(submission(&[3.0], LONG)).await
    };
    let (first, last) = tokio::join!(first, rest);

    assert!(first.is_ok() && last.is_ok());
    assert_eq!(*rechecked.runs.lock(), [1, 2, 1]);
    assert!(batcher.shared.state.lock().sample.is_none());
    assert!(batcher.shared.rechecks.is_due(Instant::now()));
}

#[tokio::test]
async fn a_recheck_that_passes_its_limit_is_terminated_like_any_run() {
    let flag = Arc::<Flag>::default();
    let rechecked = Rechecked::start(Script::EndlessAlone(flag), true);
    let batcher = &rechecked.batcher;
    rechecked.ask_two(1.0, 2.0).await;
    until_running(&rechecked.runs, 2).await;
    assert!(batcher.shared.slot(0).watch.is_recheck());

    check_servable(&batcher.shared, Instant::now() + LONG + RUN_GRACE);
    assert_eq!(rechecked.metrics().runs_terminated.get(), 1);
    while batcher.shared.state.lock().idle_lanes == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rechecked.metrics().batch_rechecks.get(), 0, "no verdict");
    assert_eq!(rechecked.ask_two(3.0, 4.0).await, [3.0, 4.0]);
}

#[tokio::test]
async fn a_lane_that_hangs_in_a_recheck_is_replaced_like_any() {
    let (rechecked, token) = Rechecked::start_gated();
    let batcher = &rechecked.batcher;
    rechecked.put(two_rows(Instant::now()));
    batcher.shared.wake.notify_one();
    until_running(&rechecked.runs, 1).await;

    let late = Instant::now() + LONG + RUN_GRACE;
    check_servable(&batcher.shared, late);
    check_servable(&batcher.shared, late + HANG_GRACE);
    assert_eq!(rechecked.metrics().lanes_hung.get(), 1);
    let answer = batcher.ask(submission(&[1.0], LONG)).await;
    assert_eq!(floats(&answer.expect("served").outputs[0]), [1.0]);

    token.send(()).expect("the hung run listens");
    rechecked.until(|m| m.lanes_hung.get() == 0).await;
    drop(rechecked.batcher);
    assert!(rechecked.end.await.is_err(), "both lanes end");
}

#[tokio::test]
async fn dropping_the_batcher_does_not_wait_for_a_recheck() {
    let flag = Arc::<Flag>::default();
    let rechecked = Rechecked::start(Script::EndlessAlone(flag), true);
    rechecked.ask_two(1.0, 2.0).await;
    until_running(&rechecked.runs, 2).await;
    drop(rechecked.batcher);
    assert!(rechecked.end.await.is_err(), "the lane ends");
}
