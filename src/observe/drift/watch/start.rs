//! What a version's monitor starts with: the estimator of its scores, its slices, and the rules that
//! the operator set for its columns.

use super::WatchSubject;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::task::Task;
use crate::core::names;
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::breach::BreachWatch;
use crate::observe::drift::breach::allowed::Allowance;
use crate::observe::drift::column::rules::ColumnRule;
use crate::observe::drift::contract::{Breaches, Contracts};
use crate::observe::drift::layout::{ColumnPlace, RowPart, Side, find_place};
use crate::observe::drift::projection::MULTIVARIATE;
use crate::observe::drift::slice::Slicer;
use crate::observe::quality::calibrate::Curve;
use crate::observe::quality::estimate::Estimator;
use std::collections::BTreeMap;
use std::time::Instant;

/// What the operator set for the columns of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnRules {
    /// Columns that are not monitored.
    pub ignore: Vec<String>,
    /// Rules by the name of the column.
    pub of: BTreeMap<String, ColumnRule>,
}

impl ColumnRules {
    /// Refuses a column that the model does not have.
    pub(super) fn check(&self, places: &[ColumnPlace]) -> Result<()> {
        let is_known = |name: &&String| {
            *name == MULTIVARIATE || places.iter().any(|place| place.name == **name)
        };
        let Some(unknown) = self
            .ignore
            .iter()
            .chain(self.of.keys())
            .find(|n| !is_known(n))
        else {
            return Ok(());
        };
        let has: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        Err(Error::precondition(format!(
            "the monitor's column '{}' must be an input or output column of the model{}",
            short(unknown),
            names::instead(unknown, &has, "its columns are")
        )))
    }

    pub(crate) fn ignores(&self, name: &str) -> bool {
        self.ignore.iter().any(|ignored| ignored == name)
    }

    pub(super) fn of(&self, name: &str) -> ColumnRule {
        self.of.get(name).cloned().unwrap_or_default()
    }
}

/// Returns the shares of each column that may violate the contract, in the order of `columns`.
fn allowances(
    columns: &[(Side, String)],
    places: &[ColumnPlace],
    baseline: Option<&Baseline>,
    rules: &ColumnRules,
) -> Vec<Allowance> {
    let one = |(side, name): &(Side, String)| {
        if rules.ignores(name) {
            return Allowance::ALL;
        }
        let place =
            find_place(places, *side, name).filter(|p| matches!(p.part, RowPart::Element(_)));
        let of_baseline = baseline.zip(place).and_then(|(baseline, _)| {
            let columns = if *side == Side::Input {
                &baseline.inputs
            } else {
                &baseline.outputs
            };
            columns.iter().find(|column| column.name == *name)
        });
        of_baseline.map_or(Allowance::NUMBERS, Allowance::of_baseline)
    };
    columns.iter().map(one).collect()
}

/// Starts to estimate performance from scores; none for a model that is not a classifier.
pub(super) fn estimator(subject: &WatchSubject) -> Option<Estimator> {
    let Some(Task::Classification(task)) = &subject.task else {
        return None;
    };
    let scores = &subject.signature.outputs.get(task.scores)?.name;
    let of = |class: usize| {
        if task.is_single {
            scores.clone()
        } else {
            format!("{scores}[{class}]")
        }
    };

    let known = subject.baseline.iter().flat_map(|b| &b.calibration);
    let curves = known.filter_map(|curve| {
        let class = (0..task.classes.len())
            .rev()
            .find(|class| of(*class) == curve.output)?;
        Some((class, Curve::new(curve.points.clone())?))
    });

    Some(Estimator::new(task, &curves.collect()))
}

impl WatchSubject {
    /// Groups labelled rows by the slices of the baseline, if no other columns were set.
    pub(super) fn slice_as_the_baseline(&mut self) {
        if let Some(baseline) = &self.baseline
            && self.slices.is_empty()
        {
            self.slices = baseline.slices().into_iter().map(str::to_owned).collect();
        }
    }
}

/// Finds the columns by which labelled rows are grouped. Refuses one that the model does not have.
pub(super) fn slicers(subject: &WatchSubject, places: &[ColumnPlace]) -> Result<Vec<Slicer>> {
    let inputs = || places.iter().filter(|p| p.side == Side::Input);
    let one = |name: &String| {
        let place = find_place(places, Side::Input, name).ok_or_else(|| {
            let has: Vec<&str> = inputs().map(|p| p.name.as_str()).collect();
            let (name, has) = (short(name), has.join(", "));
            Error::precondition(format!(
                "the slice '{name}' must be an input column; the input columns are {}",
                short(&has)
            ))
        })?;
        let column = subject
            .baseline
            .iter()
            .flat_map(|b| &b.inputs)
            .find(|c| c.name == *name);
        Ok(Slicer::new(place.clone(), column))
    };

    subject.slices.iter().map(one).collect()
}

/// Returns the place of each column.
pub(super) fn numbered(columns: Vec<(Side, String)>) -> BTreeMap<(Side, String), usize> {
    columns.into_iter().zip(0..).collect()
}

/// Starts the contract's alarms from the counts so far.
pub(super) fn breach_watch(
    (contracts, counts): (&Contracts, (u64, Vec<Breaches>)),
    places: &[ColumnPlace],
    subject: &WatchSubject,
    baseline: Option<&Baseline>,
    now: Instant,
) -> BreachWatch {
    let allowances = allowances(&contracts.columns(), places, baseline, &subject.rules);
    BreachWatch::new(allowances, counts, now)
}
