//! Hyperparameter search, by grid or at random. Trials are compared on a part of
//! the training rows, so the test rows stay unseen until the best is evaluated.

#[cfg(test)]
mod tests;

use crate::context::{Trainer, Watcher};
use crate::data::{self, Rows};
use crate::history::{History, RecordedRun, RunStatus};
use crate::judge::{LossMeasure, judge};
use crate::pipeline::{gate_measure, key, span};
use crate::record::{Metrics, RunRecord};
use crate::spec::{Method, Spec, Values};
use crate::{command, evaluation, fitted_model, split};
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::core::model::ModelName;
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
    /// The mean loss on the held-out rows; none if the trial failed.
    pub loss: Option<f64>,
}

/// The result of a sweep.
pub(crate) struct Swept {
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
    history: &History,
    watcher: &mut dyn Watcher,
) -> Result<Swept> {
    let name = ModelName::parse(&spec.model.name)?;
    let settings = settings(spec)?;
    watcher.step("reading the data");
    let mut rows = data::read(spec, &trainer.reach()).await?;
    let code = command::code(spec)?;
    data::check::check(spec, &rows, trainer.now)?;
    rows.manifest.time = span(&rows);
    let measure = gate_measure(spec, &rows)?;
    let inner = inner(spec, &rows)?;
    let known: BTreeMap<String, Option<f64>> = history
        .all()
        .await?
        .into_iter()
        .filter(|ran| ran.status == RunStatus::Tried)
        .map(|ran| (ran.key().to_owned(), ran.record.loss.value().copied()))
        .collect();
    let (begun, all) = (Instant::now(), settings.len());

    let (mut trials, mut cut) = (Vec::new(), None);
    for (at, (set, spec)) in settings.into_iter().enumerate() {
        if begun.elapsed() >= spec.sweep.time_max {
            cut = Some(format!(
                "{} of {all} were tried within 'time_max' of [sweep]",
                trials.len()
            ));
            break;
        }
        let run = trial_key(&key(&spec, &code, &rows.manifest.digest()));
        let what = words(&set);
        if let Some(loss) = known.get(&run.to_string()) {
            watcher.step(&format!("{} of {all}: {what}: tried before", at + 1));
            trials.push(Trial {
                spec,
                set,
                loss: *loss,
            });
            continue;
        }
        watcher.step(&format!("{} of {all}: {what}", at + 1));
        let (began, clock) = (chrono::Utc::now(), Instant::now());
        let tried = try_one(trainer, &spec, &inner, measure, watcher);
        let mut record = RunRecord {
            data_digest: rows.manifest.digest().to_string().into(),
            measure: measure.name().to_owned().into(),
            model: name.to_string().into(),
            run: run.to_string().into(),
            spec: spec.canonical().into(),
            values: set.clone().into(),
            ..RunRecord::default()
        };
        let loss = match &tried {
            Ok((loss, metrics)) => {
                record.metrics = Metrics::from(metrics).into();
                Some(*loss).filter(|loss| loss.is_finite())
            }
            // A trial that fails is a result too.
            Err(error) => {
                record.error = error.message.clone().into();
                None
            }
        };
        record.loss = loss.into();
        let seconds = clock.elapsed().as_secs_f64();
        let trigger = format!("sweep: {what}");
        let model = name.to_string();
        history
            .keep(&RecordedRun {
                model,
                began,
                seconds,
                trigger,
                apart: true,
                events: Vec::new(),
                status: RunStatus::Tried,
                record,
            })
            .await?;
        trials.push(Trial { spec, set, loss });
    }

    trials.sort_by(|a, b| {
        a.loss
            .unwrap_or(f64::INFINITY)
            .total_cmp(&b.loss.unwrap_or(f64::INFINITY))
    });

    Ok(Swept {
        measure: measure.name(),
        trials,
        cut,
    })
}

fn trial_key(run: &Digest) -> Digest {
    Digest::of(format!("trial {run}").as_bytes())
}

/// The settings of a trial, for a person.
pub(crate) fn words(set: &Map<String, Value>) -> String {
    set.iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The training rows, to be split again.
fn inner(spec: &Spec, rows: &Rows) -> Result<Rows> {
    let (folds, _) = split::split(spec, rows)?;
    let last = folds
        .last()
        .ok_or_else(|| Error::internal("the split has no origin"))?;
    let mut learned: Vec<u32> = [&last.train[..], &last.stop].concat();
    learned.sort_unstable();
    Ok(rows.take(&learned))
}

fn try_one(
    trainer: &Trainer<'_>,
    spec: &Spec,
    rows: &Rows,
    measure: LossMeasure,
    watcher: &mut dyn Watcher,
) -> Result<(f64, ortus::observe::quality::measure::Measures)> {
    let (folds, _) = split::split(spec, rows)?;
    let (mut sum, mut count, mut last) = (0.0, 0, None);
    for fold in &folds {
        let fitted = fitted_model::fit(spec, rows, fold, &mut |round| watcher.round(round))?;
        let mut predictor = evaluation::open(
            trainer,
            fitted.graph(spec, ""),
            None,
            &fitted.columns(spec, rows),
        )?;
        let judged = judge(
            &mut predictor,
            &rows.frame.take(&fold.test),
            &rows.target.take(&fold.test),
            measure,
        )?;
        sum += judged.losses.iter().sum::<f64>();
        count += judged.losses.len();
        last = Some(judged.measures);
    }

    Ok((sum / count.max(1) as f64, last.unwrap_or_default()))
}

/// The specifications of the trials, with their settings.
fn settings(spec: &Spec) -> Result<Vec<(Map<String, Value>, Spec)>> {
    let values = &spec.sweep_values.0;
    if values.is_empty() {
        return Err(Error::invalid(
            "[sweep.values] is missing: settings and what to try for each",
        ));
    }

    let chosen: Vec<Vec<toml::Value>> = match spec.sweep.method {
        Method::Grid => grid(values)?
            .into_iter()
            .take(spec.sweep.runs_max)
            .collect(),
        Method::Random => {
            let mut dice = u64::from(spec.sweep.seed);
            let mut seen = Vec::new();
            // Short lists run out of new combinations.
            for _ in 0..spec.sweep.runs_max * 10 {
                let one: Vec<toml::Value> = values
                    .values()
                    .map(|of| of.draw(&mut || uniform(&mut dice)))
                    .collect();
                if seen.len() < spec.sweep.runs_max && !seen.contains(&one) {
                    seen.push(one);
                }
            }
            seen
        }
    };

    let apply = |chosen: Vec<toml::Value>| {
        let mut tried = spec.clone();
        let mut set = Map::new();
        for (name, value) in values.keys().zip(chosen) {
            tried.put(name, &value)?;
            set.insert(
                name.clone(),
                serde_json::to_value(&value).unwrap_or_default(),
            );
        }
        Ok((set, tried))
    };

    chosen.into_iter().map(apply).collect()
}

fn grid(values: &BTreeMap<String, Values>) -> Result<Vec<Vec<toml::Value>>> {
    let mut all: Vec<Vec<toml::Value>> = vec![Vec::new()];
    for (name, of) in values {
        let Values::List(list) = of else {
            return Err(Error::invalid(format!(
                "'{name}' in [sweep.values] is a range, but a grid takes lists; list the values"
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
