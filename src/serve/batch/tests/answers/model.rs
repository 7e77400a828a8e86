//! The model of a batcher that a walk compares it with.

use super::scripted::{KnownRun, KnownRuns, KnownSession};
use super::*;
use std::task::Poll;

/// A request that a walk submits.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedRequest {
    pub(super) rows: usize,
    /// Requests of different widths are not merged.
    pub(super) width: usize,
    pub(super) priority: u8,
    pub(super) patience: Patience,
    /// Whether the model refuses it.
    pub(super) is_poison: bool,
}

/// A request that was admitted.
struct ModelRequest {
    asked: AskedRequest,
    /// What its tensor is filled with.
    value: f32,
    /// Rows in the queue.
    rows: usize,
    /// Until it is answered or cancelled.
    waiting: Option<Waiting>,
    /// Whether it was cancelled in the queue.
    has_left: bool,
    /// Whether a run with it panicked, or was found hung.
    has_panicked: bool,
    has_hung: bool,
}

pub(super) struct Walk {
    batcher: Batcher,
    end: oneshot::Receiver<()>,
    runs: Arc<KnownRuns>,
    requests: Vec<ModelRequest>,
    lanes: usize,
    runtime: tokio::runtime::Runtime,
}

const QUEUE_ROWS_MAX: usize = 12;

impl Walk {
    pub(super) fn start(lanes: usize) -> Self {
        let runs = Arc::<KnownRuns>::default();
        let options = BatchOptions {
            batch_rows_max: 4,
            sizes: None,
            queue_rows_max: QUEUE_ROWS_MAX,
            ..options()
        };
        let unused = FakeSession {
            script: Script::Echo,
            runs: Arc::default(),
        };
        let (mut parts, end) = parts(unused, options);
        let session = |runs: &Arc<KnownRuns>| Box::new(KnownSession(Arc::clone(runs)));
        parts.sessions = (0..lanes).map(|_| session(&runs) as _).collect();
        let reopened = Arc::clone(&runs);
        parts.reopen = Box::new(move || Ok(session(&reopened)));

        let walk = Self {
            batcher: Batcher::start(parts).expect("starts"),
            end,
            runs,
            requests: Vec::new(),
            lanes,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime"),
        };
        walk.settle();
        walk
    }

    pub(super) fn take(&mut self, step: WalkStep) {
        match step {
            WalkStep::Submit(asked) => self.submit(asked),
            WalkStep::Poll(number) => {
                if let Some(at) = self.choose(number) {
                    self.poll(at);
                }
            }
            WalkStep::Cancel(number) => {
                if let Some(at) = self.choose(number) {
                    self.cancel(at);
                }
            }
            WalkStep::End(number, verdict) => self.end_run(number, verdict),
            WalkStep::Hang => self.hang(),
            WalkStep::HoldMerging(true) => self.batcher.hold_merging(),
            WalkStep::HoldMerging(false) => self.batcher.release_merging(),
        }
        self.settle();
        self.compare();
    }

    /// Lets every run end, and checks that every request is answered.
    pub(super) fn finish(self, drops_early: bool) {
        let Self {
            batcher,
            end,
            runs,
            mut requests,
            runtime,
            ..
        } = self;
        let shared = Arc::clone(&batcher.shared);
        // What was admitted is answered even then.
        let kept = (!drops_early).then_some(batcher);
        runs.free();
        for request in &mut requests {
            if let Some(waiting) = request.waiting.take() {
                request.check(runtime.block_on(waiting));
            }
        }

        check_runs(&runs.all(), &requests);
        assert_eq!(shared.state.lock().queue.rows(), 0);
        assert_eq!(shared.metrics.queue_rows.get(), 0);
        drop((shared, kept));
        assert!(end.blocking_recv().is_err(), "every lane ends");
    }

    /// The number of one of the requests that wait.
    fn choose(&self, number: usize) -> Option<usize> {
        let numbered = self.requests.iter().enumerate();
        let waiting: Vec<usize> = numbered
            .filter(|(_, request)| request.waiting.is_some())
            .map(|(at, _)| at)
            .collect();
        waiting.get(number.checked_rem(waiting.len())?).copied()
    }

    fn submit(&mut self, asked: AskedRequest) {
        let number = self.requests.len() as f32 + 1.0;
        let value = if asked.is_poison { -number } else { number };
        let tensor = Tensor::from_f32(
            vec![asked.rows, asked.width],
            &vec![value; asked.rows * asked.width],
        );
        let now = Instant::now();
        let submission = Submission {
            inputs: CheckedInputs {
                required: vec![tensor.expect("fits")],
                optional: Vec::new(),
            },
            deadline: match asked.patience {
                Patience::Endless => None,
                Patience::Long => Some(Deadline::after(now, LONG)),
                Patience::Short => Some(Deadline::after(now, MS)),
            },
            priority: asked.priority,
        };

        let rows = match self.batcher.holds_merging() {
            true => 1,
            false => asked.rows,
        };
        let before = self.batcher.shared.state.lock().queue.rows();
        let has_room = before + rows <= QUEUE_ROWS_MAX;
        match self.batcher.submit(submission) {
            Ok(waiting) => {
                assert!(has_room, "the queue was full");
                self.requests.push(ModelRequest {
                    asked,
                    value,
                    rows,
                    waiting: Some(waiting),
                    has_left: false,
                    has_panicked: false,
                    has_hung: false,
                });
            }
            Err(error) if error.kind == Kind::DeadlineExceeded => {
                assert_eq!(asked.patience, Patience::Short);
            }
            Err(error) => {
                assert_eq!(error.kind, Kind::ResourceExhausted, "{error}");
                assert!(!has_room, "the queue had room");
            }
        }
    }

    fn poll(&mut self, at: usize) {
        let request = &mut self.requests[at];
        let waiting = request.waiting.as_mut().expect("it waits");
        let polled = self.runtime.block_on(std::future::poll_fn(|cx| {
            Poll::Ready(std::pin::Pin::new(&mut *waiting).poll(cx))
        }));
        if let Poll::Ready(answer) = polled {
            request.waiting = None;
            request.check(answer);
        }
    }

    fn cancel(&mut self, at: usize) {
        let runs = self.runs.all();
        let request = &mut self.requests[at];
        request.waiting = None;
        request.has_left = !runs.iter().any(|run| run.values.contains(&request.value));
    }

    fn end_run(&mut self, number: usize, verdict: RunVerdict) {
        let open = self.runs.open();
        let Some(place) = number.checked_rem(open.len()) else {
            return;
        };
        if verdict == RunVerdict::Panic {
            let values = &self.runs.all()[open[place]].values;
            let requests = self.requests.iter_mut();
            for request in requests.filter(|request| values.contains(&request.value)) {
                request.has_panicked = true;
            }
        }
        self.runs.end(open[place], verdict);
        while self.runs.open().contains(&open[place]) {
            std::thread::yield_now();
        }
    }

    fn hang(&mut self) {
        let shared = &self.batcher.shared;
        let open = self.runs.open();
        if open.len() > REPLACEMENTS_MAX {
            return;
        }
        let late = Instant::now() + LONG + RUN_GRACE;
        check_servable(shared, late);
        check_servable(shared, late + HANG_GRACE);
        let runs = self.runs.all();
        for request in &mut self.requests {
            let mut open = open.iter();
            request.has_hung |= open.any(|number| runs[*number].values.contains(&request.value));
        }
    }

    /// Waits until every lane sleeps or is in a run, and none sleeps beside requests that wait.
    fn settle(&self) {
        let shared = &self.batcher.shared;
        loop {
            let state = shared.state.lock();
            let hung = usize::try_from(shared.metrics.lanes_hung.get()).expect("positive");
            let known = state.idle_lanes + self.runs.open().len();
            let is_taken = state.idle_lanes == 0 || state.queue.rows() == 0;
            drop(state);
            if known == self.lanes + hung && is_taken {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Compares the queue with the model. A request whose time is short may have left it.
    fn compare(&self) {
        let runs = self.runs.all();
        let (mut least, mut most) = (0, 0);
        for request in self.requests.iter().filter(|r| r.waiting.is_some()) {
            if runs.iter().any(|run| run.values.contains(&request.value)) {
                continue;
            }
            most += request.rows;
            if request.asked.patience != Patience::Short {
                least += request.rows;
            }
        }

        let state = self.batcher.shared.state.lock();
        let rows = state.queue.rows();
        assert!((least..=most).contains(&rows), "{least} {rows} {most}");
        let metric = self.batcher.shared.metrics.queue_rows.get();
        assert_eq!(metric, i64::try_from(rows).expect("few"), "the metric");
    }
}

/// No request ran after it was cancelled, and none ran twice but after a failure.
fn check_runs(runs: &[KnownRun], requests: &[ModelRequest]) {
    for request in requests {
        let own = runs
            .iter()
            .filter(|run| run.values.contains(&request.value));
        let own: Vec<_> = own.collect();
        assert!(
            own.is_empty() || !request.has_left,
            "ran after it was cancelled"
        );
        let is_whole = |run: &&&KnownRun| run.values.iter().all(|value| *value > 0.0);
        assert!(
            own.iter().filter(is_whole).count() <= 1,
            "{} ran twice",
            request.value
        );
    }
}

impl ModelRequest {
    fn check(&self, answer: Result<Done>) {
        let asked = self.asked;
        match answer {
            Ok(done) => {
                assert!(!asked.is_poison, "the model refuses it");
                let wanted = vec![self.value; asked.rows * asked.width];
                assert_eq!(floats(&done.outputs[0]), wanted);
            }
            Err(error) => {
                let is_right = match error.kind {
                    Kind::InvalidArgument => asked.is_poison,
                    Kind::Internal => self.has_panicked,
                    Kind::DeadlineExceeded => asked.patience == Patience::Short || self.has_hung,
                    _ => false,
                };
                assert!(is_right, "{asked:?}: {error}");
            }
        }
    }
}
