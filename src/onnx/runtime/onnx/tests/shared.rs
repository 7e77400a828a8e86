//! Sessions that share a model give the answers, and the errors, of a session of their own, however many
//! threads run them at once.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

const THREADS: usize = 8;
const RUNS: usize = 400;
const WIDTH: i64 = 64;

/// Two dense layers with a normalisation: more than one operator, and memory of the arena.
fn dense() -> SessionSource {
    let weights = |name: &str, seed: u64| {
        let mut random = crate::core::hash::SplitMix(seed);
        let value = || ((random.next_u64() >> 40) as f32 / 16_777_216.0 - 0.5).to_le_bytes();
        let values = std::iter::repeat_with(value).take((WIDTH * WIDTH) as usize);
        o::TensorProto {
            name: Some(name.to_owned()),
            dims: vec![WIDTH, WIDTH],
            data_type: Some(1),
            raw_data: Some(values.flatten().collect()),
            ..o::TensorProto::default()
        }
    };
    model(o::GraphProto {
        node: vec![
            node("MatMul", &["x", "a"], "h"),
            node("Relu", &["h"], "r"),
            node("MatMul", &["r", "b"], "m"),
            node("Softmax", &["m"], "y"),
        ],
        input: vec![declare("x", DType::F32, &[-1, WIDTH])],
        output: vec![declare("y", DType::F32, &[-1, WIDTH])],
        initializer: vec![weights("a", 1), weights("b", 2)],
        ..o::GraphProto::default()
    })
}

/// Rows that differ for each thread and run.
fn rows(thread: usize, run: usize) -> Tensor {
    let count = 1 + (thread + run) % 7;
    let values: Vec<f32> = (0..count * WIDTH as usize)
        .map(|at| ((at * 31 + thread * 7 + run) % 97) as f32 / 50.0 - 1.0)
        .collect();
    Tensor::from_f32(vec![count, WIDTH as usize], &values).expect("fits")
}

fn raw(outputs: Result<Vec<Tensor>>) -> Result<Vec<Bytes>, String> {
    match outputs {
        Ok(outputs) => Ok(outputs.iter().map(|output| output.to_raw()).collect()),
        Err(error) => Err(format!("{:?} {}", error.kind, error.message)),
    }
}

/// Runs every thread's inputs in sessions of the same model and compares with a session of its own. Every
/// 16th run has a wrong shape, whose error is compared too.
fn check_together(source: &SessionSource, inputs: impl Fn(usize, usize) -> Tensor + Sync) {
    let wrong = Tensor::from_f32(vec![1, 3], &[0.0; 3]).expect("fits");
    let given = |thread: usize, run: usize| match run % 16 {
        15 => wrong.clone(),
        _ => inputs(thread, run),
    };
    let mut own = open(source);
    let expected: Vec<Vec<_>> = (0..THREADS)
        .map(|thread| {
            let runs = 0..RUNS;
            runs.map(|run| raw(own.run(&[given(thread, run).view()])))
                .collect()
        })
        .collect();

    let first = open(source);
    let model = first.shared().expect("runs on the CPU");
    let mut sessions = vec![first];
    sessions.resize_with(THREADS, || model.session().expect("is loaded"));
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for (thread, mut session) in sessions.into_iter().enumerate() {
            let (start, expected, given) = (&start, &expected[thread], &given);
            scope.spawn(move || {
                start.wait();
                for (run, expected) in expected.iter().enumerate() {
                    let answer = raw(session.run(&[given(thread, run).view()]));
                    assert_eq!(&answer, expected, "thread {thread}, run {run}");
                }
            });
        }
    });

    assert!(model.session().is_none(), "the last session is gone");
}

#[test]
fn sessions_that_share_weights_answer_bit_for_bit_as_one_of_its_own() {
    check_together(&dense(), rows);
}

#[test]
fn shared_trees_answer_bit_for_bit_too() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/models/diabetes/1/model.onnx");
    let source = SessionSource {
        bytes: std::fs::read(file).expect("comes with Ortus").into(),
        external_dir: None,
    };
    let patient = |thread: usize, run: usize| {
        let values: Vec<f32> = (0..10)
            .map(|at| ((at + thread * run) % 29) as f32 / 100.0)
            .collect();
        Tensor::from_f32(vec![1, 10], &values).expect("fits")
    };
    check_together(&source, patient);
}

#[test]
fn a_termination_ends_the_runs_of_one_session_only() {
    let first = open(&dense());
    let model = first.shared().expect("runs on the CPU");
    let (mut ended, mut other) = (first, model.session().expect("is loaded"));
    let terminator = ended.terminator().expect("has one");
    terminator.terminate();
    let has_failed = AtomicBool::new(false);

    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(ended.run(&[rows(0, 0).view()]).is_err());
            has_failed.store(true, Ordering::Release);
        });
        for run in 0..RUNS {
            other.run(&[rows(1, run).view()]).expect("runs");
        }
    });

    assert!(has_failed.load(Ordering::Acquire));
    terminator.reset();
    ended.run(&[rows(0, 0).view()]).expect("runs again");
}

#[test]
fn a_model_lives_as_long_as_one_of_its_sessions() {
    let first = open(&dense());
    let model = first.shared().expect("runs on the CPU");
    let mut second = model.session().expect("is loaded");
    drop(first);
    second.run(&[rows(0, 0).view()]).expect("runs");
    let mut third = model.session().expect("is loaded");
    drop(second);
    third.run(&[rows(0, 0).view()]).expect("runs");
    drop(third);
    assert!(model.session().is_none());
}
