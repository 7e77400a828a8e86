//! The fourth phase: exports the model, and shows that the graph predicts what the
//! fitted model predicts, that it is robust, and that a server can load it.

use super::Job;
use super::explained::RunExplanation;
use super::fitted::Fitted;
use super::split::Split;
use crate::context::Watcher;
use crate::data::Rows;
use crate::gate::{Gate, Slice, TestRows, Verdict};
use crate::guess::{Guess, GuessedModel, KnownTargets};
use crate::judge::losses::JudgedRows;
use crate::judge::{Evaluation, OpenModel, judge};
use crate::parity::Parity;
use crate::record::CompanionSummary;
use crate::spec::{Algorithm, CalibrationMethod, Spec};
use crate::{companion, evaluation, package};
use bytes::Bytes;
use ortus::core::error::Result;
use ortus::core::hash::Digest;
use ortus::observe::drift::baseline::Baseline;

/// A fitted model with its graph and what was measured of it.
pub(super) struct Proven {
    pub fitted: Fitted,
    pub graph: Bytes,
    pub predictor: OpenModel,
    pub columns: Vec<String>,
    pub parity: Option<Parity>,
    /// The gates that need no champion.
    pub gates: Vec<Gate>,
    /// The test rows.
    pub test: Rows,
    pub evaluation: Evaluation,
    /// The baseline of rows that the model was not trained on.
    pub baseline: Baseline,
    /// The companion model, and its summary for the record.
    pub companion: Option<(Bytes, CompanionSummary)>,
    /// What explains its predictions, if that is wanted and possible.
    pub explained: Option<RunExplanation>,
    /// Why predictions are not explained although that is wanted.
    pub unexplained: Option<String>,
    cluster: Vec<u32>,
    slices: Vec<Slice>,
    guess: Guess,
    calibration_hint: Option<&'static str>,
}

impl Proven {
    /// Exports the model and measures the graph.
    pub(super) fn prove(job: &Job<'_>, fitted: Fitted, watcher: &mut dyn Watcher) -> Result<Self> {
        watcher.step("exporting the model, and comparing the graph with it");
        let Fitted { split, model, .. } = &fitted;
        let (rows, fold) = (split.rows(), &split.fold);
        let graph = model.graph(job.spec, &split.dataset.run.to_string());
        let columns = model.columns(job.spec, rows);
        let mut predictor = evaluation::open(job.trainer, graph.clone(), None, &columns)?;
        // A program's model may have one input for each column.
        let columns = predictor.columns.clone();

        let parity = model.parity(job.spec, &mut predictor, rows, fold);
        let must_predict_missing_row = model.must_predict_missing_row();
        let gates = vec![
            parity_gate(&parity),
            evaluation::robust(&mut predictor, rows, fold, must_predict_missing_row),
            evaluation::mechanical(
                job.trainer.operator.prober.as_ref(),
                &graph,
                &split.dataset.run,
            ),
        ];

        let test = rows.take(&fold.test);
        let judged = JudgedRows::of(&test, &job.spec.fit);
        let cluster = evaluation::clusters(rows, fold);
        let slices = evaluation::slices(job.spec, rows, fold);
        let evaluation = judge(&mut predictor, &judged, split.measure)?;
        let learned: Vec<u32> = fold.train.iter().chain(&fold.stop).copied().collect();
        let weights = |all: &Vec<f32>| learned.iter().map(|row| all[*row as usize]).collect();
        let weights: Option<Vec<f32>> = rows.weight.as_ref().map(weights);
        let guess = Guess::of(
            &KnownTargets::of(&rows.target.take(&learned), weights.as_deref()),
            &predictor.class_indices(&rows.target)?,
            &GuessedModel {
                evaluation: &evaluation,
                rows: &judged,
                measure: split.measure,
                is_balanced: job.spec.fit.balanced,
            },
        )?;
        let explained = RunExplanation::of(job.spec, model, (rows, fold), &test.frame);
        let unexplained = explained.as_ref().err().map(|error| error.message.clone());
        let companion = companion::learn_errors(job.trainer, job.spec, rows, fold, &mut predictor)?;
        let held_out = [&fold.stop[..], &fold.test].concat();
        let baseline = package::baseline(&mut predictor, rows, &held_out, &model.importances())?;
        Ok(Self {
            parity: parity.ok(),
            baseline,
            fitted,
            graph,
            predictor,
            columns,
            gates,
            test,
            evaluation,
            companion,
            explained: explained.ok().flatten(),
            unexplained,
            cluster,
            slices,
            guess,
            calibration_hint: calibration_hint(job.spec),
        })
    }

    pub(super) fn split(&self) -> &Split {
        &self.fitted.split
    }

    /// Returns the key of the run.
    pub(super) fn run(&self) -> &Digest {
        &self.split().dataset.run
    }

    /// Returns the test rows as gates see them.
    pub(super) fn test_rows(&self) -> TestRows<'_> {
        TestRows {
            measure: self.split().measure,
            cluster: &self.cluster,
            slices: self.slices.clone(),
            guess: &self.guess,
            calibration_hint: self.calibration_hint,
        }
    }
}

/// Says how the probabilities can be calibrated, if they are not.
fn calibration_hint(spec: &Spec) -> Option<&'static str> {
    let is_built_in = spec.fit.algorithm != Algorithm::Command;
    (is_built_in && spec.fit.calibration == CalibrationMethod::None)
        .then_some("of two classes, calibration = \"isotonic\" or \"platt\" in [fit] may lower it")
}

fn parity_gate(parity: &Result<Parity>) -> Gate {
    match parity {
        Ok(p) => Gate::plain(
            "parity",
            Verdict::Pass,
            format!("{} rows, largest difference {:.1e}", p.rows, p.worst),
        ),
        Err(e) => Gate::plain("parity", Verdict::Fail, e.message.clone()),
    }
}
