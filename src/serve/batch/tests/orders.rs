//! The hand-over between requests and lanes, in many orders of what the threads do. Shuttle runs one thread
//! at a time and chooses at each lock, wait, wake-up and atomic number which is next: at random, and
//! with few changes at random places (PCT), always from the same seeds. If every thread waits, it fails:
//! that is a request left in the queue while all lanes sleep.
//!
//! Covered are the locks and atomic numbers of `batch/sync.rs`: queue, lanes, slots, the time
//! limits of runs, hung lanes. Not covered: weaker memory orders than those of one thread at a time, time
//! limits of waits, and what happens inside `tokio::sync::oneshot`, `ArcSwap` and the rechecks, which count
//! as one step.

mod runs;
pub(in crate::serve::batch) mod sync;

use super::*;
use crate::core::tensor::View;
use crate::serve::batch::watch::{HANG_GRACE, RUN_GRACE};
use crate::serve::batch::watchdog::check_servable;
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};
use std::task::Poll;

/// Orders of each kind that are tried.
const ORDERS: usize = 400;

/// Tries a test in many orders.
fn in_many_orders(test: impl Fn(&Arc<ServableMetrics>) + Clone + Send + Sync + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    // The timers of requests that wait; none ends.
    let _entered = runtime.enter();
    let mut config = Config::new();
    config.stack_size = 1 << 19;
    // Weaker memory orders are not covered: see above.
    config.silence_warnings = true;
    // After the message of a failure. A deadlock ends the process all the same, because what its order
    // leaves is dropped outside of shuttle; the order is printed before.
    config
        .ungraceful_shutdown_config
        .immediately_return_on_panic = true;

    let series = metrics();
    let tried = move || test(&series);
    sync::trying(|| {
        let random = RandomScheduler::new_from_seed(1, ORDERS);
        Runner::new(random, config.clone()).run(tried.clone());
        let few_changes = PctScheduler::new_from_seed(1, 3, ORDERS);
        Runner::new(few_changes, config).run(tried);
    });
}

/// Starts a batcher. The receiver resolves when its lanes have ended.
fn start(
    metrics: &Arc<ServableMetrics>,
    sessions: Vec<Box<dyn Session>>,
    options: BatchOptions,
) -> (Batcher, oneshot::Receiver<()>) {
    let (ended, end) = oneshot::channel();
    let parts = BatcherParts {
        name: "m:1".to_owned(),
        sessions,
        reopen: Box::new(|| Ok(echo())),
        options,
        recheck: None,
        metrics: Arc::clone(metrics),
        ended,
    };
    (Batcher::start(parts).expect("starts"), end)
}

fn echo() -> Box<dyn Session> {
    Box::new(FakeSession {
        script: Script::Echo,
        runs: Arc::default(),
    })
}

fn answered(answer: Result<Done>, value: f32) {
    assert_eq!(floats(&answer.expect("served").outputs[0]), [value]);
}

/// Drops the batcher and waits for its lanes.
fn end(batcher: Batcher, end: oneshot::Receiver<()>, metrics: &ServableMetrics) {
    assert_eq!(batcher.shared.state.lock().queue.rows(), 0);
    assert_eq!(metrics.queue_rows.get(), 0);
    drop(batcher);
    assert!(block_on(end).is_err(), "every lane ends");
}

/// Each client asks twice, one request after the other.
fn clients(metrics: &Arc<ServableMetrics>, lanes: usize, count: usize, options: BatchOptions) {
    let (batcher, ended) = start(metrics, (0..lanes).map(|_| echo()).collect(), options);
    let batcher = Arc::new(batcher);
    let clients = (0..count).map(|client| {
        let batcher = Arc::clone(&batcher);
        thread::spawn(move || {
            for number in 0..2 {
                let value = (client * 2 + number) as f32;
                answered(block_on(batcher.ask(submission(&[value], LONG))), value);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        client.join().expect("answered");
    }
    end(Arc::into_inner(batcher).expect("unused"), ended, metrics);
}

#[test]
fn no_request_is_left_while_all_lanes_sleep() {
    in_many_orders(|metrics| clients(metrics, 2, 3, options()));
}

#[test]
fn no_request_is_left_where_batches_have_one_row() {
    let alone = BatchOptions {
        batch_rows_max: 1,
        sizes: None,
        ..options()
    };
    in_many_orders(move |metrics| clients(metrics, 2, 3, alone.clone()));
}

#[test]
fn no_request_is_left_when_runs_are_made_in_place() {
    let in_place = BatchOptions {
        in_place: true,
        ..options()
    };
    in_many_orders(move |metrics| clients(metrics, 1, 3, in_place.clone()));
}

#[test]
fn a_cancelled_request_takes_no_other_with_it() {
    for in_place in [false, true] {
        let options = BatchOptions {
            in_place,
            ..options()
        };
        in_many_orders(move |metrics| {
            let (batcher, ended) = start(metrics, vec![echo()], options.clone());
            let batcher = Arc::new(batcher);
            let other = Arc::clone(&batcher);
            let leaving = thread::spawn(move || {
                for polls in 0..3 {
                    let mut waiting = other.submit(submission(&[9.0], LONG)).expect("room");
                    for _ in 0..polls {
                        let poll = std::future::poll_fn(|cx| {
                            Poll::Ready(std::pin::Pin::new(&mut waiting).poll(cx).is_ready())
                        });
                        if block_on(poll) {
                            break;
                        }
                    }
                }
            });
            for value in [1.0, 2.0] {
                answered(block_on(batcher.ask(submission(&[value], LONG))), value);
            }
            leaving.join().expect("left");
            end(Arc::into_inner(batcher).expect("unused"), ended, metrics);
        });
    }
}

#[test]
fn what_was_submitted_before_the_batcher_is_dropped_is_answered() {
    in_many_orders(|metrics| {
        let (batcher, ended) = start(metrics, vec![echo(), echo()], options());
        let waiting = [1.0, 2.0, 3.0].map(|value| {
            let waiting = batcher.submit(submission(&[value], LONG));
            (value, waiting.expect("room"))
        });
        let clients = waiting
            .map(|(value, waiting)| thread::spawn(move || answered(block_on(waiting), value)));
        drop(batcher);
        for client in clients {
            client.join().expect("answered");
        }
        assert!(block_on(ended).is_err(), "every lane ends");
        assert_eq!(metrics.queue_rows.get(), 0);
    });
}

/// A session whose runs hang until it is opened.
struct Hanging {
    is_open: Arc<sync::Mutex<bool>>,
    changed: Arc<sync::Condvar>,
    has_begun: Option<oneshot::Sender<()>>,
}

impl Session for Hanging {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        if let Some(begun) = self.has_begun.take() {
            let _ = begun.send(());
        }
        let mut is_open = self.is_open.lock();
        while !*is_open {
            self.changed.wait(&mut is_open);
        }
        drop(is_open);
        echo().run(inputs)
    }

    fn provider(&self) -> &'static str {
        "fake"
    }
}

#[test]
fn a_lane_that_replaces_a_hung_one_serves_and_both_end() {
    in_many_orders(|metrics| {
        let is_open = Arc::new(sync::Mutex::new(false));
        let changed = Arc::new(sync::Condvar::new());
        let (begins, begun) = oneshot::channel();
        let hanging = Hanging {
            is_open: Arc::clone(&is_open),
            changed: Arc::clone(&changed),
            has_begun: Some(begins),
        };
        let (batcher, ended) = start(metrics, vec![Box::new(hanging)], options());
        let first = batcher.submit(submission(&[1.0], LONG)).expect("room");
        let client = thread::spawn(move || answered(block_on(first), 1.0));
        block_on(begun).expect("it runs");

        let late = Instant::now() + LONG + RUN_GRACE;
        check_servable(&batcher.shared, late);
        check_servable(&batcher.shared, late + HANG_GRACE);
        // The first run hangs still.
        answered(block_on(batcher.ask(submission(&[2.0], LONG))), 2.0);
        let open = thread::spawn(move || {
            *is_open.lock() = true;
            changed.notify_all();
        });
        answered(block_on(batcher.ask(submission(&[3.0], LONG))), 3.0);
        client.join().expect("answered");
        open.join().expect("open");
        end(batcher, ended, metrics);
        assert_eq!(metrics.lanes_hung.get(), 0);
    });
}
