//! The fourth phase: exports the model, and shows that the graph predicts what the
//! fitted model predicts, that it is robust, and that a server can load it.

use super::Job;
use super::fitted::Fitted;
use super::split::Split;
use crate::context::Watcher;
use crate::data::Target;
use crate::frame::Frame;
use crate::gate::{Bench, Gate, Verdict};
use crate::judge::{Asked, Evaluation, judge};
use crate::parity::Parity;
use crate::record::CompanionSummary;
use crate::{companion, evaluation};
use bytes::Bytes;
use ortus::core::error::Result;
use ortus::core::hash::Digest;

/// A fitted model with its graph and what was measured of it.
pub(super) struct Proven {
    pub fitted: Fitted,
    pub graph: Bytes,
    pub asked: Asked,
    pub columns: Vec<String>,
    pub parity: Option<Parity>,
    /// The gates that need no champion.
    pub gates: Vec<Gate>,
    /// The features and targets of the test rows.
    pub frame: Frame,
    pub target: Target,
    pub evaluation: Evaluation,
    /// The companion model, and its summary for the record.
    pub companion: Option<(Bytes, CompanionSummary)>,
    cluster: Vec<u32>,
    parts: Vec<(String, Vec<u32>)>,
}

impl Proven {
    /// Exports the model and measures the graph.
    pub(super) fn prove(job: &Job<'_>, fitted: Fitted, watcher: &mut dyn Watcher) -> Result<Self> {
        watcher.step("exporting, and comparing the graph with the fitted model");
        let Fitted { split, model, .. } = &fitted;
        let (rows, fold) = (split.rows(), &split.fold);
        let graph = model.graph(job.spec, &split.dataset.run.to_string());
        let columns = model.columns(job.spec, rows);
        let mut asked = evaluation::open(job.trainer, graph.clone(), None, &columns)?;
        // A program's model may have one input for each column.
        let columns = asked.columns.clone();

        let parity = model.parity(job.spec, &mut asked, rows, fold);
        let bears_nothing = model.bears_nothing();
        let gates = vec![
            parity_gate(&parity),
            evaluation::robust(&mut asked, rows, fold, bears_nothing),
            evaluation::mechanical(
                job.trainer.operator.prober.as_ref(),
                &graph,
                &split.dataset.run,
            ),
        ];

        let frame = rows.frame.take(&fold.test);
        let target = rows.target.take(&fold.test);
        let cluster = evaluation::clusters(rows, fold);
        let parts = evaluation::parts(job.spec, rows, fold);
        let evaluation = judge(&mut asked, &frame, &target, split.measure)?;
        let companion = companion::learn_errors(job.trainer, job.spec, rows, fold, &mut asked)?;
        Ok(Self {
            parity: parity.ok(),
            fitted,
            graph,
            asked,
            columns,
            gates,
            frame,
            target,
            evaluation,
            companion,
            cluster,
            parts,
        })
    }

    pub(super) fn split(&self) -> &Split {
        &self.fitted.split
    }

    /// The key of the run.
    pub(super) fn run(&self) -> &Digest {
        &self.split().dataset.run
    }

    /// The test rows as gates see them.
    pub(super) fn bench(&self) -> Bench<'_> {
        Bench {
            wrong: self.split().measure,
            cluster: &self.cluster,
            parts: self.parts.clone(),
        }
    }
}

fn parity_gate(parity: &Result<Parity>) -> Gate {
    match parity {
        Ok(p) => Gate::plain(
            "parity",
            Verdict::Pass,
            format!("{} rows, at most {:.1e} apart", p.rows, p.worst),
        ),
        Err(e) => Gate::plain("parity", Verdict::Fail, e.message.clone()),
    }
}
