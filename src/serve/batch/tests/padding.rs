//! Padded batches: requests of any lengths get the answers that they get alone, batches keep their limits, and
//! padding ends at the first sign that it changes answers.

use super::*;
use crate::core::model::padding::PaddingPlan;
use crate::core::model::padding::{AxisNames, Padding};
use crate::core::model::{Signature, TensorSpec};
use crate::core::tensor::{DType, View, ViewData, read_all};
use crate::onnx::runtime::Session;
use crate::serve::batch::padder::PADDING_UNTESTED;
use crate::serve::batch::recheck::PADDING_DISAGREED;
use crate::testing::tensor_spec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What a session does with padded places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    /// It leaves them out.
    Masked,
    /// It counts them.
    Counting,
    /// Its second output is as long as its inputs, which its graph does not say.
    Longer,
}

/// Adds up each row. Answers each place plus the sum, and the sum.
struct SummingSession {
    behaviour: Behaviour,
    /// Rows and length of each run.
    runs: Arc<Mutex<Vec<[usize; 2]>>>,
}

fn elements<T, const N: usize>(view: &View<'_>, read: impl Fn([u8; N]) -> T) -> Vec<T> {
    match view.data {
        ViewData::Fixed(bytes) => read_all(bytes, read),
        ViewData::Strings(_) => Vec::new(),
    }
}

impl Session for SummingSession {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        let [rows, length] = [inputs[0].shape[0], inputs[0].shape[1]];
        self.runs.lock().push([rows, length]);
        let values = elements(&inputs[0], f32::from_le_bytes);
        let mask = elements(&inputs[1], i64::from_le_bytes);
        let (mut places, mut sums) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let places_of_row = row * length..(row + 1) * length;
            let (row, mask) = (&values[places_of_row.clone()], &mask[places_of_row]);
            let real = row.iter().zip(mask).filter(|(_, mask)| **mask != 0);
            let sum: f32 = match self.behaviour {
                Behaviour::Counting => row.iter().map(|value| value + 1.0).sum(),
                _ => real.map(|(value, _)| value).sum(),
            };
            places.extend(row.iter().map(|value| value + sum));
            sums.push(sum);
        }

        let pooled = match self.behaviour {
            Behaviour::Longer => Tensor::from_f32(vec![rows, length], &places)?,
            _ => Tensor::from_f32(vec![rows, 1], &sums)?,
        };
        Ok(vec![Tensor::from_f32(vec![rows, length], &places)?, pooled])
    }

    fn provider(&self) -> &'static str {
        "fake"
    }
}

fn plan(tokens_max: Option<usize>) -> Arc<PaddingPlan> {
    let padding = Padding {
        lengths: vec![2, 4, 8],
        inputs: BTreeMap::from([("x".to_owned(), 5.0)]),
        mask: "mask".to_owned(),
        tokens_max,
    };
    let spec = |name, dtype| tensor_spec(name, dtype, &[-1, -1]);
    let pooled: TensorSpec = tensor_spec("pooled", DType::F32, &[-1, 1]);
    let signature = Signature {
        inputs: vec![spec("x", DType::F32), spec("mask", DType::I64)],
        outputs: vec![spec("tokens", DType::F32), pooled],
        ..Signature::default()
    };
    let names = |names: &[&str]| names.iter().map(|n| Some((*n).to_owned())).collect();
    let ragged: Vec<Option<String>> = names(&["batch", "sequence"]);
    let axis_names = AxisNames {
        inputs: vec![ragged.clone(), ragged.clone()],
        outputs: vec![ragged, vec![Some("batch".to_owned()), None]],
    };
    Arc::new(PaddingPlan::resolve(&padding, &signature, &axis_names).expect("fits"))
}

/// A request: its values, row by row, and how many places of each row its own mask shows.
#[derive(Clone, Debug)]
struct Ragged {
    rows: usize,
    length: usize,
    shown: usize,
    first: u8,
}

impl Ragged {
    fn of(rows: usize, length: usize) -> Self {
        Self {
            rows,
            length,
            shown: length,
            first: 1,
        }
    }

    fn inputs(&self) -> Vec<Tensor> {
        let count = self.rows * self.length;
        let values: Vec<f32> = (0..count)
            .map(|at| f32::from(self.first) + at as f32)
            .collect();
        let shown = |at: usize| i64::from(at % self.length.max(1) < self.shown);
        let mask: Vec<u8> = (0..count).flat_map(|at| shown(at).to_le_bytes()).collect();
        let shape = vec![self.rows, self.length];
        vec![
            Tensor::from_f32(shape.clone(), &values).expect("fits"),
            Tensor::fixed(DType::I64, shape, mask.into()).expect("fits"),
        ]
    }

    fn submission(&self) -> Submission {
        Submission {
            inputs: CheckedInputs {
                required: self.inputs(),
                optional: Vec::new(),
            },
            deadline: None,
            priority: 0,
        }
    }

    /// The answer at its own length.
    fn expected(&self, behaviour: Behaviour) -> Vec<Tensor> {
        let mut session = SummingSession {
            behaviour,
            runs: Arc::default(),
        };
        let inputs = self.inputs();
        let views: Vec<View<'_>> = inputs.iter().map(Tensor::view).collect();
        session.run(&views).expect("runs")
    }
}

/// A batcher that runs on the calling thread what was submitted together.
struct Padded {
    batcher: Batcher,
    behaviour: Behaviour,
    runs: Arc<Mutex<Vec<[usize; 2]>>>,
}

impl Padded {
    fn start(behaviour: Behaviour, tokens_max: Option<usize>) -> Self {
        let runs = Arc::<Mutex<Vec<[usize; 2]>>>::default();
        let session = SummingSession {
            behaviour,
            runs: Arc::clone(&runs),
        };
        let unused = FakeSession {
            script: Script::Echo,
            runs: Arc::default(),
        };
        let options = BatchOptions {
            in_place: true,
            queue_rows_max: 4_096,
            padding: Some(plan(tokens_max)),
            ..options()
        };
        let (mut parts, _) = parts(unused, options);
        parts.sessions = vec![Box::new(session)];
        parts.recheck = Some(RecheckOptions {
            model: ModelName::parse("m").expect("legal"),
            version: Version::new(1).expect("legal"),
            outputs: vec!["tokens".to_owned(), "pooled".to_owned()],
            interval: Duration::from_nanos(1),
        });
        let batcher = Batcher::start(parts).expect("starts");
        while batcher.shared.state.lock().idle_lanes == 0 {
            std::thread::yield_now();
        }
        let padded = Self {
            batcher,
            behaviour,
            runs,
        };
        assert_eq!(padded.batcher.unpadded().as_deref(), Some(PADDING_UNTESTED));
        padded.batcher.conclude_padding(Ok(()));
        padded
    }

    /// Submits requests together, and compares their answers with those that they get alone.
    async fn ask(&self, requests: &[Ragged]) {
        let asked = requests
            .iter()
            .map(|one| self.batcher.ask(one.submission()));
        let answers = futures_util::future::join_all(asked).await;
        for (request, answer) in requests.iter().zip(answers) {
            let outputs = answer.expect("served").outputs;
            assert_eq!(outputs, request.expected(self.behaviour), "{request:?}");
        }
    }

    fn tokens(&self) -> (u64, u64) {
        self.batcher.shared.metrics.padding_tokens()
    }
}

fn ragged() -> impl Strategy<Value = Ragged> {
    let parts = (1..=3_usize, 0..=11_usize, 0..=11_usize, any::<u8>());
    parts.prop_map(|(rows, length, hidden, first)| Ragged {
        rows,
        length,
        shown: length.saturating_sub(hidden / 4),
        first,
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn requests_of_any_lengths_get_the_answers_that_they_get_alone(
        groups in proptest::collection::vec(proptest::collection::vec(ragged(), 1..12), 1..4),
        tokens_max in proptest::option::of(8..40_usize),
    ) {
        let padded = Padded::start(Behaviour::Masked, tokens_max);
        crate::testing::block_on(async {
            for group in &groups {
                padded.ask(group).await;
            }
        });
        let most = tokens_max.unwrap_or(usize::MAX);
        for [rows, length] in padded.runs.lock().iter() {
            // A request alone may be over it.
            prop_assert!(rows * length <= most || *rows <= 3, "{rows} × {length} > {most}");
        }
        prop_assert_eq!(padded.batcher.unpadded(), None);
    }
}

#[tokio::test]
async fn requests_of_one_bucket_run_together_and_others_at_their_own_lengths() {
    let padded = Padded::start(Behaviour::Masked, None);
    padded
        .ask(&[
            Ragged::of(1, 3),
            Ragged::of(2, 4),
            Ragged::of(1, 9),
            Ragged::of(1, 1),
        ])
        .await;
    let mut runs = padded.runs.lock().clone();
    runs.truncate(3);
    runs.sort_unstable();
    // Alone nothing is padded, and nothing beyond the longest length is.
    assert_eq!(runs, [[1, 1], [1, 9], [3, 4]]);
    assert_eq!(padded.tokens(), (3 + 8 + 9 + 1, 1));
}

#[tokio::test]
async fn a_batch_has_no_more_tokens_than_its_limit() {
    let padded = Padded::start(Behaviour::Masked, Some(12));
    padded.ask(&vec![Ragged::of(1, 3); 6]).await;
    let runs = padded.runs.lock().clone();
    assert_eq!(runs[..2], [[3, 4], [3, 4]]);
    let explained = padded.batcher.explain();
    assert_eq!(explained.batches[1].why, "tokens_max");
    let padding = explained.padding.expect("declared");
    assert_eq!((padding.real_tokens, padding.padded_tokens), (18, 6));
    assert_eq!((padding.off, padding.tokens_max), (None, Some(12)));
}

#[tokio::test]
async fn the_first_recheck_of_a_padded_answer_that_differs_ends_padding_and_not_batching() {
    let padded = Padded::start(Behaviour::Counting, None);
    let two = [Ragged::of(1, 3), Ragged::of(1, 4)];
    while padded.batcher.unpadded().is_none() {
        let (one, other) = tokio::join!(
            padded.batcher.ask(two[0].submission()),
            padded.batcher.ask(two[1].submission()),
        );
        assert!(one.is_ok() && other.is_ok());
        tokio::task::yield_now().await;
    }

    assert_eq!(
        padded.batcher.unpadded().as_deref(),
        Some(PADDING_DISAGREED)
    );
    assert_eq!(padded.batcher.unbatched(), None);
    let before = padded.runs.lock().len();
    padded.ask(&two).await;
    padded.ask(&[Ragged::of(1, 3), Ragged::of(1, 3)]).await;
    let runs = padded.runs.lock()[before..].to_vec();
    assert!(runs.contains(&[1, 3]) && runs.contains(&[1, 4]), "{runs:?}");
    assert!(runs.contains(&[2, 3]), "equal lengths are merged: {runs:?}");
}

#[tokio::test]
async fn an_output_of_another_shape_than_declared_ends_padding_before_it_reaches_a_client() {
    let padded = Padded::start(Behaviour::Longer, None);
    padded.ask(&[Ragged::of(1, 3), Ragged::of(1, 4)]).await;
    let reason = padded.batcher.unpadded().expect("ended");
    assert!(
        reason.contains("output 1 of the model has the shape [1, 4]"),
        "{reason}"
    );
    assert_eq!(padded.tokens(), (7, 0));
}

#[tokio::test]
async fn requests_that_were_queued_before_padding_ended_run_at_their_own_lengths() {
    let padded = Padded::start(Behaviour::Counting, None);
    let two = [Ragged::of(1, 3), Ragged::of(1, 4)];
    let waiting: Vec<_> = two
        .iter()
        .map(|one| padded.batcher.submit(one.submission()).expect("room"))
        .collect();
    padded
        .batcher
        .conclude_padding(Err("the test says so".to_owned()));
    let answers = futures_util::future::join_all(waiting).await;
    for (request, answer) in two.iter().zip(answers) {
        let outputs = answer.expect("served").outputs;
        assert_eq!(outputs, request.expected(Behaviour::Counting));
    }
}
