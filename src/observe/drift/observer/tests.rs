//! Tests of `observer`.

use super::keeper::AnswerKeeper;
use super::*;
use crate::core::hash::Digest;
use crate::core::model::optional::CheckedInputs;
use crate::core::model::task::Task;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::{DType, Tensor};

#[test]
fn a_prediction_is_sampled_on_every_server_or_on_none_and_uniformly() {
    let ids: Vec<Uuid> = (0..10_000).map(|_| Uuid::now_v7()).collect();
    assert!(ids.iter().all(|id| number(*id) == number(*id)));
    let sampled = ids
        .iter()
        .filter(|id| number(**id) <= u64::MAX / 10)
        .count();
    assert!(
        (800..1_200).contains(&sampled),
        "{sampled} of a tenth of 10,000"
    );
}

/// Remembers what it was told.
#[derive(Default)]
struct Memory {
    kept: Mutex<Vec<(Uuid, usize)>>,
    lost: AtomicU64,
    loaded: AtomicU64,
}

impl AnswerKeeper for Memory {
    fn keep(&self, answered: &Answered<'_>) {
        let rows = answered.answers.iter().flatten().count();
        self.kept.lock().push((answered.prediction, rows));
    }

    fn lost(&self, predictions: u64, from_ms: u64, to_ms: u64) {
        assert!(from_ms <= to_ms && from_ms > 0);
        self.lost.fetch_add(predictions, Ordering::Relaxed);
    }

    fn watched(&self, _: &Arc<WatchSubject>) {
        self.loaded.fetch_add(1, Ordering::Relaxed);
    }
}

/// A monitored version whose share of sampled requests is as low as it can be.
struct Watched {
    monitor: Arc<Monitor>,
    observer: Observer,
    memory: Arc<Memory>,
}

fn watched(settings: MonitorSettings) -> Watched {
    let memory = Arc::<Memory>::default();
    let taps = Taps {
        answered: Vec::new(),
        keeper: Some(Arc::clone(&memory) as Arc<dyn AnswerKeeper>),
    };
    let options = MonitorOptions {
        settings,
        tapped_share: 0.0,
    };
    let metrics = Metrics::new().expect("metrics");
    let monitor = Monitor::start(options, metrics, Box::new(|_| {}), taps).expect("starts");
    monitor.shared.sampled_up_to.store(0, Ordering::Relaxed);

    let spec = |name: &str| TensorSpec {
        name: name.to_owned(),
        dtype: DType::F32,
        shape: Some(vec![Dim::Dynamic, Dim::Fixed(1)]),
    };
    let subject = WatchSubject {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(1).expect("legal"),
        digest: Digest([1; 32]),
        signature: Signature {
            inputs: vec![spec("x")],
            outputs: vec![spec("y")],
            ..Signature::default()
        },
        features: Vec::new(),
        baseline: None,
        task: Some(Task::Regression(0)),
        slices: Vec::new(),
        rules: Default::default(),
    };
    let observer = monitor.watch(subject, None).expect("watched");
    Watched {
        monitor,
        observer,
        memory,
    }
}

impl Watched {
    /// Answers a request of some rows.
    fn answer(&self, rows: usize) -> Uuid {
        let id = Uuid::now_v7();
        let tensor = Tensor::from_f32(vec![rows, 1], &vec![1.0; rows]).expect("fits");
        let inputs = CheckedInputs {
            required: vec![tensor.clone()],
            optional: Vec::new(),
        };
        let asked = self.observer.asked(id, &inputs);
        self.observer.answered(id, asked, &[tensor]);
        id
    }

    fn wait(&self) {
        let ended = Instant::now() + Duration::from_secs(60);
        while !self.monitor.is_idle() && Instant::now() < ended {
            std::thread::yield_now();
        }
    }

    fn report(&self) -> VersionDrift {
        let model = ModelName::parse("m").expect("legal");
        self.monitor.report(&model, None).remove(0)
    }
}

#[test]
fn every_answer_reaches_the_keeper_although_no_request_is_sampled() {
    let watched = watched(MonitorSettings {
        rows_min_per_minute: 0,
        // The share rises only slowly from 0 within this test.
        ..MonitorSettings::default()
    });
    let ids: Vec<Uuid> = (0..50).map(|_| watched.answer(2)).collect();
    watched.wait();

    let kept = watched.memory.kept.lock();
    assert_eq!(*kept, ids.iter().map(|id| (*id, 2)).collect::<Vec<_>>());
    assert_eq!(watched.memory.loaded.load(Ordering::Relaxed), 1);
    let report = watched.report();
    assert_eq!(report.rows, 100, "rows are counted at the answer");
    assert!(report.sampled_rows <= 2, "{}", report.sampled_rows);
}

#[test]
fn a_burst_counts_at_least_the_floor_of_rows() {
    let watched = watched(MonitorSettings::default());
    for _ in 0..1_000 {
        watched.answer(64);
    }
    watched.wait();

    let report = watched.report();
    assert_eq!(report.rows, 64_000);
    assert!(report.sampled_rows >= 6_000, "{}", report.sampled_rows);
    assert!(report.sampled_rows < 20_000, "the rest is sampled");
}

#[test]
fn a_request_that_was_not_answered_is_not_counted() {
    let watched = watched(MonitorSettings::default());
    let inputs = CheckedInputs {
        required: vec![Tensor::from_f32(vec![3, 1], &[1.0; 3]).expect("fits")],
        optional: Vec::new(),
    };
    drop(watched.observer.asked(Uuid::now_v7(), &inputs));
    assert_eq!(watched.report().rows, 0);
}

#[test]
fn answers_that_do_not_fit_the_queue_are_told_to_the_keeper() {
    let watched = watched(MonitorSettings {
        queue_bytes_max: 100,
        ..MonitorSettings::default()
    });
    watched.answer(7_000);
    let ended = Instant::now() + Duration::from_secs(60);
    while watched.memory.lost.load(Ordering::Relaxed) == 0 && Instant::now() < ended {
        std::thread::yield_now();
    }
    assert_eq!(watched.memory.lost.load(Ordering::Relaxed), 1);
    assert!(watched.memory.kept.lock().is_empty());

    // What was dropped leaves the floor as it was.
    assert!(watched.observer.has_room());
}
