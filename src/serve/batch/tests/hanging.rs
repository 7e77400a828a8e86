//! Tests of runs that pass their limit, in the watchdog's virtual time: they are terminated, and
//! lanes that hang are replaced.

use super::*;
use crate::core::error::Kind;
use crate::onnx::runtime::fake::Flag;
use crate::serve::batch::watch::{HANG_GRACE, RUN_GRACE};
use crate::serve::batch::watchdog::{REPLACEMENTS_MAX, check_servable};
use std::sync::mpsc;

/// A moment after the limit of every run that was submitted with `LONG`.
fn late() -> Instant {
    Instant::now() + LONG + RUN_GRACE
}

/// Checks twice: the first check terminates a run, the second finds it hung.
fn look_until_hung(batcher: &Batcher) {
    let late = late();
    check_servable(&batcher.shared, late);
    check_servable(&batcher.shared, late + HANG_GRACE);
}

/// A batcher whose lane hangs until a token is sent. The lanes that replace it follow
/// `replacement`, if there is one, and else hang too.
struct Hanging {
    batcher: Batcher,
    runs: Arc<Mutex<Vec<usize>>>,
    tokens: mpsc::Sender<()>,
    end: oneshot::Receiver<()>,
}

impl Hanging {
    fn start(replacement: Option<Script>, options: BatchOptions) -> Self {
        let (tokens, gate) = mpsc::channel();
        let script = Script::Gate(Arc::new(Mutex::new(gate)));
        let runs = Arc::<Mutex<Vec<usize>>>::default();
        let session = FakeSession {
            script: script.clone(),
            runs: Arc::clone(&runs),
        };
        let (mut parts, end) = parts(session, options);
        let script = replacement.unwrap_or(script);
        let seen = Arc::clone(&runs);
        parts.reopen = Box::new(move || {
            Ok(Box::new(FakeSession {
                script: script.clone(),
                runs: Arc::clone(&seen),
            }))
        });

        let batcher = Batcher::start(parts).expect("starts");
        Self {
            batcher,
            runs,
            tokens,
            end,
        }
    }

    fn hung(&self) -> i64 {
        self.batcher.shared.metrics.lanes_hung.get()
    }

    /// Waits until this many lanes hang.
    async fn until_hung(&self, count: i64) {
        while self.hung() != count {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_run_beyond_its_limit_is_terminated_and_the_next_is_not() {
    let flag = Arc::<Flag>::default();
    let (batcher, runs) = batcher(Script::Endless(flag), options());
    for count in 1..=2 {
        let submitted = batcher.ask(submission(&[1.0], LONG));
        let watch = async {
            until_running(&runs, count).await;
            check_servable(&batcher.shared, Instant::now());
            assert_eq!(
                batcher.shared.metrics.runs_terminated.get(),
                count as u64 - 1,
                "terminated before its limit"
            );
            check_servable(&batcher.shared, late());
        };
        let (answer, ()) = tokio::join!(submitted, watch);

        let error = answer.expect_err("terminated");
        assert_eq!(error.kind, Kind::DeadlineExceeded, "{error}");
        assert!(error.message.contains("was terminated"), "{error}");
        assert_eq!(batcher.shared.metrics.runs_terminated.get(), count as u64);
    }
    assert_eq!(batcher.shared.metrics.lanes_hung.get(), 0);
}

#[tokio::test]
async fn a_hung_lane_is_replaced_and_ends_when_its_run_does() {
    let hanging = Hanging::start(Some(Script::Echo), options());
    let batcher = &hanging.batcher;
    let submitted = batcher.ask(submission(&[1.0], LONG));
    let rest = async {
        until_running(&hanging.runs, 1).await;
        look_until_hung(batcher);
        assert_eq!(hanging.hung(), 1);
        assert!(batcher.is_running());

        let other = batcher.ask(submission(&[2.0], LONG)).await;
        assert_eq!(floats(&other.expect("served").outputs[0]), [2.0]);

        hanging.tokens.send(()).expect("the hung run listens");
        hanging.until_hung(0).await;
    };
    let (answer, ()) = tokio::join!(submitted, rest);

    // Its client still waits.
    assert_eq!(floats(&answer.expect("served").outputs[0]), [1.0]);
    let again = batcher.ask(submission(&[3.0], LONG)).await;
    assert_eq!(floats(&again.expect("served").outputs[0]), [3.0]);
    drop(hanging.batcher);
    assert!(hanging.end.await.is_err(), "both lanes end");
}

#[tokio::test]
async fn beyond_the_limit_of_replacements_the_servable_is_unavailable_until_a_run_ends() {
    let hanging = Hanging::start(None, options());
    let batcher = &hanging.batcher;
    let mut waiting = Vec::new();
    for count in 1..=REPLACEMENTS_MAX + 1 {
        let mut submitted = Box::pin(batcher.ask(submission(&[1.0], LONG)));
        let started = tokio::select! {
            answer = &mut submitted => panic!("answered: {answer:?}"),
            () = until_running(&hanging.runs, count) => batcher.problem(),
        };
        assert_eq!(started, None, "{count}");
        waiting.push(submitted);
        look_until_hung(batcher);
        assert_eq!(hanging.hung(), count as i64);
    }

    let refused = batcher.ask(submission(&[2.0], LONG)).await;
    let error = refused.expect_err("no lane is left");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains("'m:1' is unavailable"), "{error}");
    assert_eq!(batcher.problem(), Some(error.message));

    for _ in 0..=REPLACEMENTS_MAX {
        hanging.tokens.send(()).expect("the hung runs listen");
    }
    hanging.until_hung(0).await;
    assert_eq!(batcher.problem(), None);
    hanging.tokens.send(()).expect("the lane listens");
    let again = batcher.ask(submission(&[3.0], LONG)).await;
    assert_eq!(floats(&again.expect("served").outputs[0]), [3.0]);
}

#[tokio::test]
async fn a_servable_is_unavailable_if_no_second_session_can_be_opened() {
    let (batcher, runs, token) = gated(options());
    let submitted = batcher.ask(submission(&[1.0], LONG));
    let rest = async {
        until_running(&runs, 1).await;
        look_until_hung(&batcher);
        while batcher.problem().is_none() {
            tokio::task::yield_now().await;
        }
        let refused = batcher.ask(submission(&[2.0], LONG)).await;
        assert_eq!(refused.expect_err("refused").kind, Kind::Unavailable);
        token.send(()).expect("the hung run listens");
    };

    let (answer, ()) = tokio::join!(submitted, rest);

    assert_eq!(floats(&answer.expect("served").outputs[0]), [1.0]);
    // The lane answers before it notes that its run ended.
    while batcher.problem().is_some() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_hung_run_in_place_is_replaced_and_ends_runs_in_place() {
    let in_place = BatchOptions {
        in_place: true,
        ..options()
    };
    let hanging = Hanging::start(Some(Script::Echo), in_place);
    let runtime = || {
        let built = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        built.expect("a runtime")
    };

    std::thread::scope(|scope| {
        let io = scope.spawn(|| {
            let submitted = hanging.batcher.ask(submission(&[1.0], LONG));
            runtime().block_on(submitted)
        });
        runtime().block_on(async {
            until_running(&hanging.runs, 1).await;
            look_until_hung(&hanging.batcher);
            assert!(!hanging.batcher.shared.is_in_place());
            let other = hanging.batcher.ask(submission(&[2.0], LONG)).await;
            assert_eq!(floats(&other.expect("served").outputs[0]), [2.0]);
            assert_eq!(hanging.hung(), 1);
        });

        hanging.tokens.send(()).expect("the hung run listens");
        let answer = io.join().expect("the I/O thread comes back");
        assert_eq!(floats(&answer.expect("served").outputs[0]), [1.0]);
        assert_eq!(hanging.hung(), 0);
    });
    drop(hanging.batcher);
    assert!(hanging.end.blocking_recv().is_err());
}

#[tokio::test]
async fn a_run_without_a_deadline_lasts_until_its_client_gives_up() {
    let flag = Arc::<Flag>::default();
    let (batcher, runs) = batcher(Script::Endless(flag), options());
    let mut submitted = Box::pin(batcher.ask(patient(1.0)));
    tokio::select! {
        answer = &mut submitted => panic!("answered: {answer:?}"),
        () = until_running(&runs, 1) => {}
    }
    check_servable(&batcher.shared, late() + LONG * 1_000);
    assert_eq!(batcher.shared.metrics.runs_terminated.get(), 0);

    drop(submitted);
    check_servable(&batcher.shared, late());
    assert_eq!(batcher.shared.metrics.runs_terminated.get(), 1);
    while batcher.is_running() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_long_run_in_place_is_terminated_and_made_on_a_lane() {
    let in_place = BatchOptions {
        in_place: true,
        ..options()
    };
    let flag = Arc::<Flag>::default();
    let (batcher, runs) = batcher(Script::Endless(flag), in_place);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");

    let until = |count: usize| {
        while runs.lock().len() < count {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until(1);
            check_servable(&batcher.shared, Instant::now() + RUN_GRACE);
            // The lane has it now. It has no limit there but the client's.
            until(2);
            check_servable(&batcher.shared, Instant::now() + RUN_GRACE);
            assert_eq!(batcher.shared.metrics.runs_terminated.get(), 1);
            check_servable(&batcher.shared, late());
        });
        let answer = runtime.block_on(batcher.ask(submission(&[1.0], LONG)));
        assert_eq!(answer.expect_err("late").kind, Kind::DeadlineExceeded);
        assert!(!batcher.shared.is_in_place());
    });
}
