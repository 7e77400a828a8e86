//! Hyperparameter search, by grid or at random. Trials are compared on a part of
//! the training rows, so the test rows stay unseen until the best is evaluated.

#[cfg(test)]
mod tests;

use crate::command::{self, Code};
use crate::context::{LearningCurve, Trainer, Watcher};
use crate::data::{self, Rows};
use crate::history::{RecordedRun, RunHistory, RunStatus};
use crate::judge::judge;
use crate::judge::losses::JudgedRows;
use crate::judge::measure::LossMeasure;
use crate::pipeline::{gate_measure, key};
use crate::record::{MetricValues, RunRecord};
use crate::spec::{Method, Spec, TrialValues};
use crate::{evaluation, fitted_model, split};
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::core::model::ModelName;
use ortus::observe::quality::measure::Measures;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Instant;

/// The most combinations of a grid.
const GRID_MAX: usize = 100_000;

/// A trial.
pub(crate) struct Trial {
    pub spec: Spec,
    /// The values of the settings, by name.
    pub set: Map<String, Value>,
    /// The key of its run.
    pub run: String,
    /// The mean loss on the held-out rows; none if the trial failed.
    pub loss: Option<f64>,
}

/// The result of a sweep.
pub(crate) struct SweepResult {
    pub measure: &'static str,
    /// The trials, the best first.
    pub trials: Vec<Trial>,
    /// Why the sweep ended before all trials.
    pub cut: Option<String>,
}

/// Runs the trials of `[sweep]`, and stores each in the history; a trial that was
/// run before on the same rows is not repeated.
pub(crate) async fn sweep(
    trainer: &Trainer<'_>,
    spec: &Spec,
    history: &RunHistory,
    watcher: &mut dyn Watcher,
) -> Result<SweepResult> {
    let settings = settings(spec)?;
    let count = settings.len();
    let trials_of = Trials::read(trainer, spec, history, watcher).await?;

    let begun = Instant::now();
    // Settings that do not apply, such as those of trees for a linear model, make equal trials.
    let mut known = trials_of.known.clone();
    let (mut trials, mut cut) = (Vec::new(), None);
    for (at, (set, spec)) in settings.into_iter().enumerate() {
        if begun.elapsed() >= spec.sweep.time_max {
            cut = Some(format!(
                "{} of {count} trials were run within 'time_max' in [sweep]",
                trials.len()
            ));
            break;
        }

        let step = format!("{} of {count}: {}", at + 1, settings_text(&set));
        let run = trials_of.key(&spec);
        let loss = match known.get(&run.to_string()) {
            Some(loss) => {
                watcher.step(&format!("{step}: tried before"));
                *loss
            }
            None => {
                watcher.step(&step);
                let ran = trials_of.run(&spec, &set, &run, watcher);
                history.keep(&ran).await?;
                let loss = ran.record.loss.value().copied();
                known.insert(run.to_string(), loss);
                loss
            }
        };
        trials.push(Trial {
            spec,
            set,
            run: run.to_string(),
            loss,
        });
    }

    let loss = |trial: &Trial| trial.loss.unwrap_or(f64::INFINITY);
    trials.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
    Ok(SweepResult {
        measure: trials_of.measure.name(),
        trials,
        cut,
    })
}

/// What the trials of a sweep share.
struct Trials<'t> {
    trainer: &'t Trainer<'t>,
    model: ModelName,
    code: Vec<Code>,
    data_digest: Digest,
    /// The training rows, to be split again.
    rows: Rows,
    measure: LossMeasure,
    /// The losses of earlier trials, by run key.
    known: BTreeMap<String, Option<f64>>,
}

impl<'t> Trials<'t> {
    /// Reads the data and the earlier trials.
    async fn read(
        trainer: &'t Trainer<'t>,
        spec: &Spec,
        history: &RunHistory,
        watcher: &mut dyn Watcher,
    ) -> Result<Self> {
        let model = ModelName::parse(&spec.model.name)?;
        watcher.step("reading the data");
        let rows = data::read(spec, &trainer.reach()).await?;
        data::check::check(spec, &rows, trainer.now)?;

        let known = history
            .all()
            .await?
            .into_iter()
            .filter(|ran| ran.status == RunStatus::Tried)
            .map(|ran| (ran.key().to_owned(), ran.record.loss.value().copied()));
        Ok(Self {
            trainer,
            model,
            code: command::code(spec)?,
            data_digest: rows.manifest.digest(),
            measure: gate_measure(spec, &rows)?,
            rows: training_rows(spec, &rows)?,
            known: known.collect(),
        })
    }

    /// Returns the run key of a trial.
    fn key(&self, spec: &Spec) -> Digest {
        trial_key(&key(spec, &self.code, &self.data_digest))
    }

    /// Runs a trial, and returns its record. A trial that fails is a result too.
    fn run(
        &self,
        spec: &Spec,
        set: &Map<String, Value>,
        run: &Digest,
        watcher: &mut dyn Watcher,
    ) -> RecordedRun {
        let (began, clock) = (chrono::Utc::now(), Instant::now());
        let mut record = RunRecord {
            data_digest: self.data_digest.to_string().into(),
            measure: self.measure.name().to_owned().into(),
            model: self.model.to_string().into(),
            run: run.to_string().into(),
            spec: spec.canonical().into(),
            values: set.clone().into(),
            ..RunRecord::default()
        };
        let loss = match try_one(self.trainer, spec, &self.rows, self.measure, watcher) {
            Ok(tried) => {
                record.metrics = MetricValues::from(&tried.measures).into();
                record.curve = tried.curve.into();
                Some(tried.loss).filter(|loss| loss.is_finite())
            }
            Err(error) => {
                record.error = error.message.into();
                None
            }
        };
        record.loss = loss.into();

        RecordedRun {
            model: self.model.to_string(),
            began,
            seconds: clock.elapsed().as_secs_f64(),
            trigger: format!("sweep: {}", settings_text(set)),
            apart: true,
            events: Vec::new(),
            status: RunStatus::Tried,
            record,
        }
    }
}

fn trial_key(run: &Digest) -> Digest {
    Digest::of(format!("trial {run}").as_bytes())
}

/// Returns the settings of a trial, for a person.
pub(crate) fn settings_text(set: &Map<String, Value>) -> String {
    set.iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns the training rows, to be split again.
fn training_rows(spec: &Spec, rows: &Rows) -> Result<Rows> {
    let (folds, _) = split::split(spec, rows)?;
    let last = folds
        .last()
        .ok_or_else(|| Error::internal("the split has no origin"))?;
    let mut learned: Vec<u32> = [&last.train[..], &last.stop].concat();
    learned.sort_unstable();
    Ok(rows.take(&learned))
}

/// What a trial showed.
struct TrialResult {
    loss: f64,
    /// Of the last origin.
    measures: Measures,
    curve: Option<Vec<(usize, f64)>>,
}

fn try_one(
    trainer: &Trainer<'_>,
    spec: &Spec,
    rows: &Rows,
    measure: LossMeasure,
    watcher: &mut dyn Watcher,
) -> Result<TrialResult> {
    // Trials may set what does not go together.
    spec.check_objective()?;
    let (folds, _) = split::split(spec, rows)?;
    let (mut sum, mut count, mut last) = (0.0, 0.0, None);
    for fold in &folds {
        let mut curve = LearningCurve::new();
        let fitted = fitted_model::fit(spec, rows, fold, &mut |round| {
            curve.add(&round);
            watcher.round(round);
        })?;
        let mut predictor = evaluation::open(
            trainer,
            fitted.graph(spec, ""),
            None,
            &fitted.columns(spec, rows),
        )?;
        let test = rows.take(&fold.test);
        let judged = judge(&mut predictor, &JudgedRows::of(&test, &spec.fit), measure)?;
        let weight = |row: usize| judged.weights.as_ref().map_or(1.0, |w| w[row]);
        for (row, loss) in judged.losses.iter().enumerate() {
            if weight(row) > 0.0 {
                sum += weight(row) * loss;
                count += weight(row);
            }
        }
        last = Some((judged.measures, curve.into_points()));
    }

    let (measures, curve) = last.unwrap_or_default();
    Ok(TrialResult {
        loss: sum / f64::max(count, f64::MIN_POSITIVE),
        measures,
        curve,
    })
}

/// Returns the specifications of the trials, with their settings.
fn settings(spec: &Spec) -> Result<Vec<(Map<String, Value>, Spec)>> {
    let values = &spec.sweep_values.0;
    if values.is_empty() {
        return Err(Error::invalid(
            "[sweep.values] is missing: the settings, each with the values to try",
        ));
    }

    let chosen = match spec.sweep.method {
        Method::Grid => {
            let all = grid(values)?.into_iter();
            all.take(spec.sweep.runs_max).collect()
        }
        Method::Random => drawn(spec),
    };
    chosen
        .into_iter()
        .map(|chosen| with_values(spec, chosen))
        .collect()
}

/// Returns the specification of a trial, with a value for each setting, and these values.
fn with_values(spec: &Spec, chosen: Vec<toml::Value>) -> Result<(Map<String, Value>, Spec)> {
    let mut tried = spec.clone();
    let mut set = Map::new();
    for (name, value) in spec.sweep_values.0.keys().zip(chosen) {
        tried.put(name, &value)?;
        set.insert(
            name.clone(),
            serde_json::to_value(&value).unwrap_or_default(),
        );
    }
    Ok((set, tried))
}

/// Draws different combinations of values; short lists run out of new ones.
fn drawn(spec: &Spec) -> Vec<Vec<toml::Value>> {
    let mut dice = u64::from(spec.sweep.seed);
    let mut seen: Vec<Vec<toml::Value>> = Vec::new();
    for _ in 0..spec.sweep.runs_max * 10 {
        let values = spec.sweep_values.0.values();
        let one = values
            .map(|of| of.sample(&mut || uniform(&mut dice)))
            .collect();
        if seen.len() < spec.sweep.runs_max && !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

/// Returns all combinations of the values.
fn grid(values: &BTreeMap<String, TrialValues>) -> Result<Vec<Vec<toml::Value>>> {
    let mut all: Vec<Vec<toml::Value>> = vec![Vec::new()];
    for (name, of) in values {
        let TrialValues::List(list) = of else {
            return Err(Error::invalid(format!(
                "'{name}' in [sweep.values] is a range, but a grid takes lists; list the values, or set method = \"random\" in [sweep]"
            )));
        };
        if all.len() * list.len() > GRID_MAX {
            return Err(Error::invalid(format!(
                "the grid has over {GRID_MAX} combinations; set method = \"random\" in [sweep]"
            )));
        }
        all = all
            .iter()
            .flat_map(|one| list.iter().map(|v| [one.clone(), vec![v.clone()]].concat()))
            .collect();
    }

    Ok(all)
}

fn uniform(dice: &mut u64) -> f64 {
    *dice = dice.wrapping_add(1);
    (crate::random::mix(*dice, 0x5eed) >> 11) as f64 / (1_u64 << 53) as f64
}
