//! Tests of tuning: what is tried, what is measured, and what is chosen.

use super::*;
use crate::core::tensor::Data;
use crate::onnx::runtime::fake::floats;
use parking_lot::Mutex;
use std::sync::Arc;

fn threads(lanes: usize, intra_op_threads: usize) -> LaneThreads {
    LaneThreads {
        lanes,
        intra_op_threads,
    }
}

/// A point of which a run takes so many ms.
fn point(lanes: usize, rows: usize, rows_per_second: f64, ms: f64) -> TunePoint {
    TunePoint {
        threads: threads(lanes, 4 / lanes),
        rows,
        runs: 100,
        rows_per_second,
        p50_seconds: ms / 1e3,
        p95_seconds: ms / 1e3,
    }
}

#[test]
fn all_cores_are_shared_out_between_lanes_and_threads() {
    let tried = |cores| {
        let tried = candidates("cpu", cores).into_iter();
        tried
            .map(|t| (t.lanes, t.intra_op_threads))
            .collect::<Vec<_>>()
    };
    assert_eq!(tried(1), [(1, 1)]);
    assert_eq!(tried(2), [(2, 1), (1, 2)]);
    assert_eq!(tried(8), [(8, 1), (4, 2), (2, 4), (1, 8)]);
    assert_eq!(tried(6), [(6, 1), (3, 2), (1, 4), (1, 6)]);
    let device: Vec<_> = candidates("cuda", 16).iter().map(|t| t.lanes).collect();
    assert_eq!(device[0], number_of_lanes(0, 1, "cuda", 16));
    assert_eq!(device, [2, 1, 4]);
    assert_eq!(sizes(1, 9), [1, 2, 4, 8]);
    assert_eq!(sizes(3, 16), [3, 6, 12]);
    assert_eq!(sizes(3, 1), [3]);
}

#[test]
fn the_most_rows_a_second_within_the_wanted_time_are_chosen() {
    let points = [
        point(4, 1, 100.0, 5.0),
        point(4, 8, 400.0, 20.0),
        point(4, 16, 500.0, 60.0),
        point(1, 8, 900.0, 8.0),
    ];
    let chosen = |points: &[TunePoint], slo_ms: Option<u64>| {
        let slo = slo_ms.map(Duration::from_millis);
        let choice = choose(points, threads(4, 1), slo).expect("a point");
        let point = choice.point.clone();
        (
            point.threads.lanes,
            point.rows,
            choice.is_in_time,
            choice.default.rows,
        )
    };
    assert_eq!(chosen(&points, None), (1, 8, true, 16));
    assert_eq!(chosen(&points[..3], None), (4, 16, true, 16));
    assert_eq!(chosen(&points[..3], Some(50)), (4, 8, true, 8));
    assert_eq!(chosen(&points[..3], Some(11)), (4, 1, true, 1));
    // Nothing is fast enough: the fastest, whatever it costs.
    assert_eq!(chosen(&points[..3], Some(9)), (4, 1, false, 1));
    // Equal ones: the shorter runs, and the default unless it is worse by 5 %.
    let near = [
        point(4, 16, 500.0, 60.0),
        point(4, 8, 490.0, 30.0),
        point(1, 1, 510.0, 2.0),
    ];
    assert_eq!(chosen(&near[..2], None), (4, 8, true, 16));
    assert_eq!(chosen(&near, None).0, 4);
    assert!(choose(&[], threads(4, 1), None).is_none());
}

/// A session whose runs take so long, whatever their rows, and that notes their rows.
struct Timed {
    took: Duration,
    rows: Arc<Mutex<Vec<usize>>>,
}

impl Session for Timed {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        self.rows.lock().push(inputs[0].shape[0]);
        let until = Instant::now() + self.took;
        while Instant::now() < until {
            std::thread::yield_now();
        }
        Ok(Vec::new())
    }

    fn provider(&self) -> &'static str {
        "fake"
    }
}

/// Opens such sessions: more threads make them faster, by less than their number.
struct TimedEngine(Arc<Mutex<Vec<usize>>>);

impl Engine for TimedEngine {
    fn open(&self, _: &SessionSource, options: &SessionOptions) -> Result<Box<dyn Session>> {
        let threads = options.intra_op_threads as f64;
        Ok(Box::new(Timed {
            took: Duration::from_millis(2).div_f64(threads.powf(0.3)),
            rows: Arc::clone(&self.0),
        }))
    }
}

#[test]
fn growing_batches_of_copies_of_the_given_request_are_run_on_every_lane() {
    let rows = Arc::<Mutex<Vec<usize>>>::default();
    let engine = TimedEngine(Arc::clone(&rows));
    let source = SessionSource {
        bytes: bytes::Bytes::new(),
        external_dir: None,
    };
    let given = Tensor::from_f32(vec![3, 1], &[1.0, 2.0, 3.0]).expect("fits");
    let subject = TuneSubject {
        engine: &engine,
        source: &source,
        options: SessionOptions::single(),
        inputs: TuneInputs::Given(vec![given], 3),
        provider: "cpu",
        cores: 2,
        rows_max: 12,
        time: Duration::ZERO,
        slo: None,
    };
    let batch = subject.inputs.batch(6).expect("two copies");
    assert_eq!(floats(&batch[0]), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    assert!(matches!(batch[0].data(), Data::Fixed(_)));

    let said = std::cell::RefCell::new(0);
    let points = measure(&subject, &|_| *said.borrow_mut() += 1).expect("measured");
    let measured: Vec<_> = points.iter().map(|p| (p.threads.lanes, p.rows)).collect();
    assert_eq!(measured, [(2, 3), (2, 6), (2, 12), (1, 3), (1, 6), (1, 12)]);
    assert_eq!(*said.borrow(), 6);
    assert!(points.iter().all(|p| p.runs >= RUNS_MIN * p.threads.lanes));
    assert!(rows.lock().iter().all(|rows| [3, 6, 12].contains(rows)));
    // A run takes as long for 12 rows as for 3.
    assert!(
        points[2].rows_per_second > 2.0 * points[0].rows_per_second,
        "{points:?}"
    );
}
