//! Many threads submit, cancel and wait at once, while merging is held and released.

use super::scripted::{echo, values};
use super::*;
use crate::core::hash::SplitMix;
use crate::core::tensor::View;
use crate::onnx::runtime::Session;
use std::sync::atomic::AtomicBool;

/// Refuses a batch with a negative value, and panics if one is over this.
const PANICS_OVER: f32 = 1e9;

struct RoughSession;

impl Session for RoughSession {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        let values = values(&inputs[0]);
        if values.iter().any(|value| *value > PANICS_OVER) {
            panic!("scripted panic");
        }
        echo(&inputs[0], &values)
    }

    fn provider(&self) -> &'static str {
        "fake"
    }
}

/// Requests of each thread.
const REQUESTS: usize = 400;

/// One request, which may be cancelled after none, one or two polls.
async fn one(batcher: &Batcher, number: usize, mut random: SplitMix) {
    let mut chance = |of: u64| random.next_u64().is_multiple_of(of);
    let value = match (chance(12), chance(40)) {
        (true, _) => -(number as f32) - 1.0,
        (_, true) => PANICS_OVER * 2.0,
        _ => number as f32,
    };
    let rows = 1 + usize::from(chance(3));
    let timeout = if chance(8) { MS / 4 } else { LONG };
    let mut asked = submission(&vec![value; rows], timeout);
    if chance(3) {
        asked.deadline = None;
    }
    asked.priority = u8::from(chance(2));

    let polls = if chance(4) { usize::from(chance(2)) } else { 9 };
    let waiting = match batcher.submit(asked) {
        Ok(waiting) => waiting,
        Err(error) => {
            let is_known = [Kind::ResourceExhausted, Kind::DeadlineExceeded].contains(&error.kind);
            assert!(is_known, "{error}");
            return;
        }
    };
    let Some(answer) = polled(waiting, polls).await else {
        return;
    };
    match answer {
        Ok(done) => assert_eq!(floats(&done.outputs[0]), vec![value; rows]),
        Err(error) => {
            // Whoever shares a batch with one that panics fails too.
            let kinds = [
                Kind::InvalidArgument,
                Kind::Internal,
                Kind::DeadlineExceeded,
            ];
            assert!(kinds.contains(&error.kind), "{error}");
            assert!(
                error.kind != Kind::InvalidArgument || value < 0.0,
                "{error}"
            );
        }
    }
}

/// Polls so often, and gives up then; 9 stands for no limit.
async fn polled(mut waiting: Waiting, polls: usize) -> Option<Result<Done>> {
    if polls == 9 {
        return Some(waiting.await);
    }
    for _ in 0..polls {
        tokio::select! {
            biased;
            answer = &mut waiting => return Some(answer),
            () = std::future::ready(()) => {}
        }
    }
    None
}

fn client(batcher: &Batcher, seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let requests = (0..REQUESTS).map(|number| {
        let random = SplitMix(seed * 1_000_000 + number as u64);
        one(batcher, number, random)
    });
    let mut requests: Vec<_> = requests.collect();
    while !requests.is_empty() {
        let together = requests.split_off(requests.len().saturating_sub(8));
        runtime.block_on(futures_util::future::join_all(together));
    }
}

fn many_threads(in_place: bool) {
    let options = BatchOptions {
        in_place,
        learns: true,
        cost: BatchCost::default(),
        queue_rows_max: 24,
        ..options()
    };
    let unused = FakeSession {
        script: Script::Echo,
        runs: Arc::default(),
    };
    let (mut parts, end) = parts(unused, options);
    parts.sessions = vec![Box::new(RoughSession), Box::new(RoughSession)];
    let batcher = Batcher::start(parts).expect("starts");

    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (1..=4)
            .map(|seed| {
                scope.spawn({
                    let batcher = &batcher;
                    move || client(batcher, seed)
                })
            })
            .collect();
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                batcher.hold_merging();
                check_servable(&batcher.shared, Instant::now());
                batcher.release_merging();
                std::thread::yield_now();
            }
        });
        let ended: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        for end in ended {
            end.expect("every answer was right");
        }
    });

    let shared = Arc::clone(&batcher.shared);
    assert_eq!(shared.state.lock().queue.rows(), 0);
    assert_eq!(shared.metrics.queue_rows.get(), 0);
    drop((shared, batcher));
    assert!(end.blocking_recv().is_err(), "every lane ends");
}

#[test]
fn requests_of_many_threads_are_answered_on_lanes() {
    many_threads(false);
}

#[test]
fn requests_of_many_threads_are_answered_in_place() {
    many_threads(true);
}
