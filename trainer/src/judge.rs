//! Evaluates a version: predicts rows through ONNX Runtime and computes the loss
//! of each row. The champion and the new model go through the same code.

use crate::data::RowTarget;
use crate::frame::{Frame, FrameValues, WordCodes};
use losses::{AnsweredRows, JudgedRows, RowLosses};
use measure::LossMeasure;
use ortus::core::count::{agreed, counted};
use ortus::core::error::short;
use ortus::core::error::{Error, Result};
use ortus::core::model::task::{Classification, Task, Wish};
use ortus::core::model::{Dim, Signature, TensorSpec};
use ortus::core::tensor::{DType, Strings, Tensor, View};
use ortus::observe::profile::rows::width;
use ortus::observe::quality::answer::{RowAnswer, Truth, answers};
use ortus::observe::quality::measure::{Measures, measure_weighted};
use ortus::onnx::graph::Graph;
use ortus::onnx::runtime::Session;
use rayon::prelude::*;
use std::ops::Range;

pub(crate) mod losses;
pub(crate) mod measure;

/// Rows of a batch.
const RUN_ROWS: usize = 4_096;
/// Called with inputs, outputs and row range of each batch.
pub(crate) type BatchCallback<'s> = dyn FnMut(&[Tensor], &[Tensor], Range<usize>) + 's;

/// A model file that is open for predictions.
pub(crate) struct OpenModel {
    pub signature: Signature,
    pub task: Task,
    /// The column names of its inputs.
    pub columns: Vec<String>,
    pub session: Box<dyn Session>,
}

impl OpenModel {
    /// Opens a model. Refuses a model whose inputs are not columns, or whose task is
    /// unknown.
    pub(crate) fn new(
        graph: &Graph,
        columns: &[String],
        session: Box<dyn Session>,
    ) -> Result<Self> {
        let task = Task::find(&graph.signature, &graph.ends, &Wish::default())?;
        let task =
            task.ok_or_else(|| Error::precondition("the task of the model is unknown; its outputs must be a label with probabilities, or a value"))?;
        let signature = graph.signature.clone();
        let count: usize = signature.inputs.iter().map(width).sum::<Result<usize>>()?;
        let columns = match columns.len() {
            0 if count == signature.inputs.len() => {
                signature.inputs.iter().map(|i| i.name.clone()).collect()
            }
            n if n == count => columns.to_vec(),
            n => {
                return Err(Error::precondition(format!(
                    "the model has {}; {} {} named",
                    counted(count, "input column"),
                    counted(n, "feature"),
                    agreed(n, "is", "are")
                )));
            }
        };

        Ok(Self {
            signature,
            task,
            columns,
            session,
        })
    }

    /// Predicts every row; `each` receives the tensors of each batch.
    pub(crate) fn predict(
        &mut self,
        frame: &Frame,
        each: &mut BatchCallback<'_>,
    ) -> Result<Vec<Option<RowAnswer>>> {
        let from = (0..frame.rows).step_by(RUN_ROWS);
        let batches: Vec<Range<usize>> = from
            .map(|from| from..(from + RUN_ROWS).min(frame.rows))
            .collect();
        let of = BatchInputs {
            signature: &self.signature,
            columns: &self.columns,
            frame,
        };
        let mut others = others(self.session.as_ref(), batches.len());
        let mut sessions = vec![&mut self.session];
        sessions.extend(&mut others);

        let mut all = Vec::with_capacity(frame.rows);
        for together in batches.chunks(sessions.len()) {
            let ran: Vec<Result<RanBatch>> = sessions
                .par_iter_mut()
                .zip(together)
                .map(|(session, rows)| of.run(session.as_mut(), rows))
                .collect();
            for (ran, rows) in ran.into_iter().zip(together) {
                let RanBatch { inputs, outputs } = ran?;
                let found = answers(&self.task, &outputs);
                if found.len() != rows.len() {
                    return Err(Error::precondition(
                        "the model does not return one prediction for each row",
                    ));
                }
                each(&inputs, &outputs, rows.clone());
                all.extend(found);
            }
        }

        Ok(all)
    }
}

/// Returns more sessions of a model, so that there is one for each thread; none where there are few batches, or where
/// runs at the same time are not safe.
fn others(session: &dyn Session, batches: usize) -> Vec<Box<dyn Session>> {
    let wanted = rayon::current_num_threads().min(batches).saturating_sub(1);
    if wanted == 0 {
        return Vec::new();
    }
    let shared = session.shared().into_iter();
    shared
        .flat_map(|shared| (0..wanted).map_while(move |_| shared.session()))
        .collect()
}

/// The tensors of a batch.
struct RanBatch {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

/// What the input tensors of batches are made of.
struct BatchInputs<'b> {
    signature: &'b Signature,
    columns: &'b [String],
    frame: &'b Frame,
}

impl BatchInputs<'_> {
    fn run(&self, session: &mut dyn Session, rows: &Range<usize>) -> Result<RanBatch> {
        let inputs = self.tensors(rows)?;
        let views: Vec<View<'_>> = inputs.iter().map(Tensor::view).collect();
        let outputs = session.run(&views)?;
        Ok(RanBatch { inputs, outputs })
    }

    /// Builds the input tensors of some rows. Refuses an absent column, or one of
    /// another type.
    fn tensors(&self, rows: &Range<usize>) -> Result<Vec<Tensor>> {
        let mut names = self.columns.iter();
        let mut tensor = |spec: &TensorSpec| -> Result<Tensor> {
            let columns = names
                .by_ref()
                .take(width(spec)?)
                .map(|name| column(self.frame, name))
                .collect::<Result<Vec<_>>>()?;
            tensor_of(spec, &columns, rows)
        };

        self.signature.inputs.iter().map(&mut tensor).collect()
    }
}

/// Returns a column that the model takes. Refuses one that the data does not have.
fn column<'f>(frame: &'f Frame, name: &str) -> Result<InputValues<'f>> {
    if let Some(source) = frame.source(name) {
        return Ok(InputValues::Source(source));
    }
    let found = frame.column(name).map(|column| match &column.values {
        FrameValues::Numbers(all) => InputValues::Numbers(all),
        FrameValues::Words(words) => InputValues::Words(words),
    });
    found.ok_or_else(|| {
        Error::precondition(format!(
            "the model takes the column '{}', which the data does not have",
            short(name)
        ))
    })
}

/// The values of an input's column.
#[derive(Clone, Copy)]
enum InputValues<'f> {
    Numbers(&'f [f32]),
    /// As in the data, in FP64.
    Source(&'f [f64]),
    Words(&'f WordCodes),
}

impl InputValues<'_> {
    /// Returns the numbers of some rows; none if they are words.
    fn numbers(&self, rows: &Range<usize>) -> Box<dyn Iterator<Item = f64> + '_> {
        match self {
            Self::Numbers(all) => Box::new(all[rows.clone()].iter().map(|v| f64::from(*v))),
            Self::Source(all) => Box::new(all[rows.clone()].iter().copied()),
            Self::Words(_) => Box::new(std::iter::empty()),
        }
    }
}

/// Returns the bytes of some rows of columns of numbers, row by row.
fn bytes_of<const N: usize>(
    columns: &[InputValues<'_>],
    rows: &Range<usize>,
    bytes: impl Fn(f64) -> [u8; N],
) -> Vec<u8> {
    let mut all = vec![[0; N]; columns.len() * rows.len()];
    for (at, column) in columns.iter().enumerate() {
        let places = all[at..].iter_mut().step_by(columns.len());
        places
            .zip(column.numbers(rows))
            .for_each(|(place, value)| *place = bytes(value));
    }
    all.into_flattened()
}

/// Returns some rows of columns, as the tensor of an input. Refuses columns of another type.
fn tensor_of(
    spec: &TensorSpec,
    columns: &[InputValues<'_>],
    rows: &Range<usize>,
) -> Result<Tensor> {
    let other_type = || {
        Error::precondition(format!(
            "input '{}' has another type than the column of the data",
            short(&spec.name)
        ))
    };
    let mut shape = vec![rows.len()];
    shape.extend(spec.shape.iter().flatten().skip(1).filter_map(|d| match d {
        Dim::Fixed(n) => Some(*n),
        Dim::Dynamic => None,
    }));

    if spec.dtype == DType::String {
        let words = columns.iter().map(|values| match values {
            InputValues::Words(words) => Ok(*words),
            InputValues::Numbers(_) | InputValues::Source(_) => Err(other_type()),
        });
        let words = words.collect::<Result<Vec<_>>>()?;
        let all = rows
            .clone()
            .flat_map(|row| words.iter().map(move |w| w.get(row).unwrap_or_default()));
        return Tensor::strings(shape, Strings::from_parts(all)?);
    }

    if columns
        .iter()
        .any(|values| matches!(values, InputValues::Words(_)))
    {
        return Err(other_type());
    }
    let bytes = match spec.dtype {
        DType::F32 => bytes_of(columns, rows, |v| (v as f32).to_le_bytes()),
        DType::F64 => bytes_of(columns, rows, f64::to_le_bytes),
        DType::I64 => bytes_of(columns, rows, |v| (v as i64).to_le_bytes()),
        DType::I32 => bytes_of(columns, rows, |v| (v as i32).to_le_bytes()),
        DType::Bool => bytes_of(columns, rows, |v| [u8::from(v != 0.0)]),
        _ => return Err(other_type()),
    };
    Tensor::fixed(spec.dtype, shape, bytes.into())
}

/// Converts targets to labels of a task. Refuses classes that it does not have.
pub(crate) fn truths(target: &RowTarget, task: &Task) -> Result<Vec<Truth>> {
    match (target, task) {
        (RowTarget::Values(values), Task::Regression(_)) => {
            Ok(values.iter().map(|v| Truth::Value(f64::from(*v))).collect())
        }
        (RowTarget::Classes { of, names }, Task::Classification(task)) => {
            let places = class_indices(names, task)?;
            Ok(of
                .iter()
                .map(|class| Truth::Class(places[*class as usize]))
                .collect())
        }
        _ => Err(Error::precondition(
            "the model is of another task than the data: classification against regression",
        )),
    }
}

/// Returns the indices of classes in a model. Refuses a class that it does not have.
fn class_indices(names: &[String], task: &Classification) -> Result<Vec<usize>> {
    let place = |name: &String| {
        task.class(name)
            .ok_or_else(|| Error::precondition(format!("the model has no class '{}'", short(name))))
    };
    names.iter().map(place).collect()
}

impl OpenModel {
    /// Returns the index of each class of a target in the model; empty for regression.
    pub(crate) fn class_indices(&self, target: &RowTarget) -> Result<Vec<usize>> {
        match (target, &self.task) {
            (RowTarget::Values(_), Task::Regression(_)) => Ok(Vec::new()),
            (RowTarget::Classes { names, .. }, Task::Classification(task)) => {
                class_indices(names, task)
            }
            _ => Err(Error::precondition(
                "the model is of another task than the data: classification against regression",
            )),
        }
    }
}

/// The evaluation of a model on some rows.
#[derive(Default)]
pub(crate) struct Evaluation {
    /// The loss of each row.
    pub losses: Vec<f64>,
    pub measures: Measures,
    /// Predictions and labels, with the class indices of the model.
    pub answers: Vec<Option<RowAnswer>>,
    pub truths: Vec<Truth>,
    /// The weight of each row in means; none if all count the same.
    pub weights: Option<Vec<f64>>,
}

/// Largest difference of two scores or values, as a share of the larger, that are the same.
const SAME: f64 = 1e-6;

impl Evaluation {
    /// Returns the number of rows of equal weight that say as much (Kish 1965).
    pub(crate) fn effective_rows(&self) -> f64 {
        let Some(weights) = &self.weights else {
            return self.losses.len() as f64;
        };
        let (sum, squares) = weights
            .iter()
            .fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
        sum * sum / f64::max(squares, f64::MIN_POSITIVE)
    }

    /// Returns whether the predictions of all rows are those of another model.
    pub(crate) fn answers_as(&self, other: &Self) -> bool {
        let alike = |(a, b): (f64, f64)| (a - b).abs() <= SAME * a.abs().max(b.abs());
        let score = |(a, b): (&f32, &f32)| alike((f64::from(*a), f64::from(*b)));
        let same = |(one, other): (&Option<RowAnswer>, &Option<RowAnswer>)| match (one, other) {
            (Some(RowAnswer::Value(a)), Some(RowAnswer::Value(b))) => alike((*a, *b)),
            (Some(RowAnswer::Class(a, scores)), Some(RowAnswer::Class(b, others))) => {
                a == b && scores.len() == others.len() && scores.iter().zip(others).all(score)
            }
            (one, other) => one == other,
        };
        !self.answers.is_empty()
            && self.answers.len() == other.answers.len()
            && self.answers.iter().zip(&other.answers).all(same)
    }
}

/// Predicts rows and compares the predictions with the labels.
pub(crate) fn judge(
    predictor: &mut OpenModel,
    rows: &JudgedRows<'_>,
    measure: LossMeasure,
) -> Result<Evaluation> {
    let truths = truths(rows.target, &predictor.task)?;
    let answers = predictor.predict(rows.frame, &mut |_, _, _| {})?;
    let weight = |row: usize| rows.weights.map_or(1.0, |weights| f64::from(weights[row]));
    let known = answers.iter().zip(&truths).enumerate();
    let known =
        known.filter_map(|(row, (answer, truth))| Some((answer.as_ref()?, *truth, weight(row))));
    let mut measures = match rows.objective {
        // The scores of a ranking are no estimates of grades.
        Some(objective) if objective.is_better_above() => Measures::new(),
        _ => measure_weighted(known),
    };

    let answered = AnsweredRows {
        rows,
        answers: &answers,
        truths: &truths,
    };
    for of in [Some(measure), rows.objective].into_iter().flatten() {
        measures.extend(answered.measured(of)?);
    }
    let RowLosses { losses, weights } = answered.losses(measure)?;
    Ok(Evaluation {
        losses,
        measures,
        answers,
        truths,
        weights,
    })
}
