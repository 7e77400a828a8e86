//! Tests of `explanations`.

use super::*;
use crate::core::error::Kind;
use crate::core::tensor::{DType, Tensor};
use crate::explain::model::tests::linear;
use crate::explain::model::{ExplainedFeature, ExplainedModelParts, ExplainedParts, ScoreScale};
use crate::explain::request::{CONTRIBUTIONS, FEATURES};
use crate::explain::trees::{CoverTest, TreeBuilder};
use crate::testing::tensor_spec;

/// A model of one number, whose rows take so many steps that no I/O thread takes one.
fn slow() -> Arc<ExplainedModel> {
    let tree = |_: usize| {
        let mut tree = TreeBuilder::default();
        let test = CoverTest::UpTo {
            threshold: 0.5,
            missing_left: true,
        };
        tree.split(0, &test).expect("a split");
        tree.leaf(1.0, 1).expect("a leaf");
        tree.leaf(3.0, 1).expect("a leaf");
        tree.finish().expect("a tree")
    };
    let model = ExplainedModel::new(ExplainedModelParts {
        features: vec![ExplainedFeature {
            name: "x".to_owned(),
            input: "x".to_owned(),
            column: 0,
            categories: None,
            derived: None,
        }],
        classes: Vec::new(),
        scale: ScoreScale::Value,
        start: vec![0.0],
        parts: ExplainedParts::Trees((0..8_000).map(tree).collect()),
    });
    let model = model.expect("a model");
    assert!(model.row_steps() > IN_PLACE_STEPS);
    Arc::new(model)
}

/// Starts an explanation and waits for it.
async fn explained(
    pool: &Explanations,
    model: &Arc<ExplainedModel>,
    asked: AskedExplanation,
) -> Result<NamedTensors> {
    let mut running = pool.start(model, asked)?;
    std::future::poll_fn(|cx| running.poll(cx)).await
}

fn asked(rows: usize) -> AskedExplanation {
    let x = Tensor::from_f32(vec![rows, 1], &vec![1.0; rows]).expect("numbers");
    AskedExplanation {
        top: 1,
        inputs: vec![("x".to_owned(), x)],
        deadline: None,
    }
}

#[tokio::test]
async fn what_takes_long_is_explained_by_a_thread_with_the_same_result() {
    let (model, pool) = (slow(), Explanations::default());
    let found = explained(&pool, &model, asked(2)).await.expect("explained");
    assert!(pool.jobs.lock().is_some(), "the threads were needed");
    assert_eq!(found[1].0, CONTRIBUTIONS);
    let values = found[1].1.floats().expect("numbers");
    assert_eq!(values.len(), 2);
    assert!(values.iter().all(|value| (value - 8_000.0).abs() < 1e-6));
    let direct = explain(&model, &asked(2), &|| false).expect("explained");
    assert_eq!(found, direct);
}

#[tokio::test]
async fn what_takes_little_starts_no_thread() {
    let model = Arc::new(ExplainedModel::new(linear()).expect("a model"));
    let words = crate::core::tensor::Strings::from_parts(["red"]).expect("strings");
    let inputs = vec![
        (
            "f0".to_owned(),
            Tensor::from_f32(vec![1, 1], &[6.0]).expect("a number"),
        ),
        (
            "f1".to_owned(),
            Tensor::strings(vec![1, 1], words).expect("a word"),
        ),
    ];
    let pool = Explanations::default();
    let asked = AskedExplanation {
        top: 9,
        inputs,
        deadline: None,
    };
    let found = explained(&pool, &model, asked).await.expect("explained");
    assert_eq!(found[0].0, FEATURES);
    assert!(pool.jobs.lock().is_none());
}

#[tokio::test]
async fn a_full_queue_refuses_and_the_others_are_answered() {
    let (model, pool) = (slow(), Explanations::default());
    // A queue that nobody empties yet.
    let (sender, inbox) = bounded(1);
    *pool.jobs.lock() = Some(sender);
    let mut first = pool.start(&model, asked(1)).expect("queued");
    let error = pool.start(&model, asked(1)).map(drop).expect_err("full");
    assert_eq!(error.kind, Kind::ResourceExhausted);
    let thread = std::thread::spawn(move || serve(&inbox));
    let first = std::future::poll_fn(|cx| first.poll(cx)).await;
    assert_eq!(first.expect("explained").len(), 3);
    drop(pool);
    thread.join().expect("ends with its queue");
}

#[test]
fn nobody_waits_beyond_the_deadline_or_for_who_gave_up() {
    let model = slow();
    let mut late = asked(3);
    late.deadline = Some(Deadline::after(Instant::now(), Duration::ZERO));
    let error = explain(&model, &late, &|| false).expect_err("late");
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    explain(&model, &asked(3), &|| true).expect_err("given up");
}

#[test]
fn a_version_without_a_usable_file_says_why() {
    let signature = |dtype| Signature {
        inputs: vec![
            tensor_spec("f0", DType::F32, &[-1, 1]),
            tensor_spec("f1", dtype, &[-1, 1]),
        ],
        ..Signature::default()
    };
    let model = ExplainedModel::new(linear()).expect("a model");
    let bytes = || Some(file::write(&model).map(Bytes::from));
    let check = |file, dtype, why: &str| {
        let read = VersionExplanation::read(file, &signature(dtype));
        let error = read.model().map(drop).expect_err(why);
        assert_eq!(error.kind, Kind::FailedPrecondition);
        assert!(error.message.contains(why), "{error} has no '{why}'");
    };
    check(None, DType::String, "has no explanation");
    check(Some(Ok(Bytes::from("{"))), DType::String, "first line");
    check(Some(Err(Error::invalid("lost"))), DType::String, "lost");
    check(bytes(), DType::F32, "is of another model");
    let read = VersionExplanation::read(bytes(), &signature(DType::String));
    assert_eq!(**read.model().expect("a model"), model);
}
