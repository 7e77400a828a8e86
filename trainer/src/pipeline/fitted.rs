//! The third phase: fits the model, and models of earlier origins. A fit that was
//! finished before the trainer was killed is read back.

use super::Job;
use super::split::Split;
use crate::checkpoint::{self, Checkpoints};
use crate::context::{LearningCurve, Watcher};
use crate::evaluation;
use crate::fitted_model::{self, FittedModel};
use crate::history::RunHistory;
use crate::judge::judge;
use crate::judge::losses::JudgedRows;
use crate::record::{MetricValues, OriginSummary};
use crate::split::Fold;
use ortus::core::error::Result;

/// A split with the model that was fitted to it.
pub(super) struct Fitted {
    pub split: Split,
    pub model: FittedModel,
    /// Metrics of the models of earlier origins.
    pub origins: Vec<OriginSummary>,
    /// How the model learned; none if an earlier attempt fitted it, or it has no rounds.
    pub curve: Option<Vec<(usize, f64)>>,
    pub steps: Checkpoints,
}

/// A fit that is kept: its key in the store, and what it is for a person.
struct KeptFit {
    key: String,
    what: String,
}

impl Fitted {
    /// Fits the models of all origins, the last one to be published.
    pub(super) async fn fit(
        job: &Job<'_>,
        mut split: Split,
        watcher: &mut dyn Watcher,
    ) -> Result<Self> {
        let records = job.trainer.records();
        let manifest = &split.rows().manifest;
        RunHistory::new(records.clone(), job.name.clone())
            .keep_data(&manifest.digest(), manifest)
            .await?;
        let steps = Checkpoints::of(records.clone(), &job.name, &split.dataset.run);
        // Checkpoints that are left over only take space.
        let _ = checkpoint::clear_old(&records, &job.name, job.trainer.now).await;

        let fitting = Fitting {
            job,
            split: &split,
            steps: &steps,
        };

        let origins = fitting.earlier_origins(watcher).await?;
        let step = KeptFit {
            key: "fit".to_owned(),
            what: format!("fitting to {} rows", split.summary.train),
        };
        let (model, curve) = fitting.fit(&step, &split.fold, watcher).await?;

        split.dataset.rows.notes.extend(model.notes());
        Ok(Self {
            split,
            model,
            origins,
            curve,
            steps,
        })
    }
}

/// What fits of one run share.
struct Fitting<'f> {
    job: &'f Job<'f>,
    split: &'f Split,
    steps: &'f Checkpoints,
}

impl Fitting<'_> {
    /// Returns the model that a finished step kept, or fits it now and keeps it.
    async fn fit(
        &self,
        step: &KeptFit,
        fold: &Fold,
        watcher: &mut dyn Watcher,
    ) -> Result<(FittedModel, Option<Vec<(usize, f64)>>)> {
        let kept = self.steps.done(&step.key).await?;
        if let Some(model) = kept.as_ref().and_then(FittedModel::read) {
            watcher.step(&format!("{}: done by an earlier attempt", step.what));
            return Ok((model, None));
        }

        watcher.step(&step.what);
        let mut curve = LearningCurve::new();
        let model = fitted_model::fit(self.job.spec, self.split.rows(), fold, &mut |round| {
            curve.add(&round);
            watcher.round(round);
        })?;
        let model = match self.steps.keep(&step.key, model.write()?).await {
            Ok(kept) => FittedModel::read(&kept).unwrap_or(model),
            Err(error) => {
                watcher.step(&format!(
                    "the fitted model cannot be stored, so a resumed run fits it again: {error}"
                ));
                model
            }
        };
        Ok((model, curve.into_points()))
    }

    /// Evaluates models of earlier origins, which shows whether the last result was luck.
    async fn earlier_origins(&self, watcher: &mut dyn Watcher) -> Result<Vec<OriginSummary>> {
        let (job, split) = (self.job, self.split);
        let mut origins = Vec::new();
        for (at, fold) in split.earlier.iter().enumerate() {
            let step = KeptFit {
                key: format!("origin-{at}"),
                what: format!("fitting, origin {} of {}", at + 1, split.earlier.len() + 1),
            };
            let (model, _) = self.fit(&step, fold, watcher).await?;

            let graph = model.graph(job.spec, "");
            let columns = model.columns(job.spec, split.rows());
            let mut predictor = evaluation::open(job.trainer, graph, None, &columns)?;
            let test = split.rows().take(&fold.test);
            let test = JudgedRows::of(&test, &job.spec.fit);
            let evaluation = judge(&mut predictor, &test, split.measure)?;
            origins.push(OriginSummary {
                metrics: MetricValues::from(&evaluation.measures),
                test: fold.test.len(),
                train: fold.train.len(),
            });
        }
        Ok(origins)
    }
}
