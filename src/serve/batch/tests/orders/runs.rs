//! The time limit of runs, in many orders of a run, a client that leaves, and the watchdog.

use super::*;
use crate::onnx::runtime::Terminate;
use crate::serve::batch::watch::{Finding, RunEnd, RunWatch};

/// The flag of a session: whether runs are being ended.
struct EndsRuns(sync::AtomicBool);

impl EndsRuns {
    fn new() -> Arc<Self> {
        Arc::new(Self(sync::AtomicBool::new(false)))
    }
}

impl Terminate for EndsRuns {
    fn terminate(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn reset(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[test]
fn a_run_is_never_ended_for_the_one_before_it() {
    in_many_orders(|_| {
        let zero = Instant::now();
        let ends = EndsRuns::new();
        let terminator: Arc<dyn Terminate> = Arc::clone(&ends) as _;
        let watch = Arc::new(RunWatch::new(zero, Some(terminator)));
        let late = zero + LONG;

        // The client of the first run leaves; that of the second one stays.
        let leaving = Arc::clone(&watch);
        let leaving = thread::spawn(move || leaving.leave(1, zero));
        let looking = Arc::clone(&watch);
        let looking = thread::spawn(move || {
            for _ in 0..2 {
                looking.check(late);
            }
        });

        watch.begin(Some(zero + RUN_GRACE * 5), [1].into_iter());
        watch.end();
        assert!(!ends.0.load(Ordering::SeqCst), "the next run would fail");
        watch.begin(None, [2].into_iter());
        assert!(!ends.0.load(Ordering::SeqCst));
        assert_eq!(watch.end(), RunEnd::InTime);
        leaving.join().expect("left");
        looking.join().expect("looked");
        assert!(!ends.0.load(Ordering::SeqCst));
        assert_eq!(watch.check(late + LONG), Finding::Nothing);
    });
}

#[test]
fn a_run_for_which_nobody_waits_is_ended() {
    in_many_orders(|_| {
        let zero = Instant::now();
        let ends = EndsRuns::new();
        let terminator: Arc<dyn Terminate> = Arc::clone(&ends) as _;
        let watch = Arc::new(RunWatch::new(zero, Some(terminator)));
        watch.begin(None, [1, 2].into_iter());
        let clients = [1, 2].map(|arrival| {
            let watch = Arc::clone(&watch);
            thread::spawn(move || watch.leave(arrival, zero))
        });
        for client in clients {
            client.join().expect("left");
        }
        assert_eq!(watch.check(zero + RUN_GRACE), Finding::Terminated);
        assert!(ends.0.load(Ordering::SeqCst));
        assert_eq!(watch.end(), RunEnd::Terminated);
        assert!(!ends.0.load(Ordering::SeqCst));
    });
}
