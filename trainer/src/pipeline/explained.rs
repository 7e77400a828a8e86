//! Explains the predictions of a model that was fitted: the file for servers, and the sample of test rows for the
//! page and the record.

use crate::data::Rows;
use crate::explanation::summary::{ContributionSummary, summarise};
use crate::explanation::{TrainingRows, explain};
use crate::fitted_model::FittedModel;
use crate::frame::Frame;
use crate::model::Learned;
use crate::record::Importance;
use crate::spec::Spec;
use crate::split::Fold;
use bytes::Bytes;
use ortus::core::error::Result;

/// The most features of which the record has the contribution.
const RECORDED_MAX: usize = 200;

/// What explains the predictions of a model.
pub(super) struct RunExplanation {
    /// The file of the version.
    pub bytes: Bytes,
    pub summary: ContributionSummary,
}

impl RunExplanation {
    /// Explains a model; none where that is off, and for a perceptron or the model of a program. Refuses one whose
    /// explanation is too large.
    pub(super) fn of(
        spec: &Spec,
        model: &FittedModel,
        (rows, fold): (&Rows, &Fold),
        test: &Frame,
    ) -> Result<Option<Self>> {
        let FittedModel::Ours(model) = model else {
            return Ok(None);
        };
        if !spec.publish.explanations || matches!(model.learned, Learned::Mlp(_)) {
            return Ok(None);
        }
        let training = TrainingRows {
            frame: &rows.frame,
            rows: &fold.train,
        };
        let explanation = explain(model, training)?;
        Ok(Some(Self {
            summary: summarise(model, &explanation, test),
            bytes: explanation.bytes,
        }))
    }

    /// Returns the largest mean sizes of contributions, for the record.
    pub(super) fn contributions(&self) -> Vec<Importance> {
        let means = self.summary.means.iter().take(RECORDED_MAX);
        means
            .map(|(name, mean)| Importance(name.clone(), *mean))
            .collect()
    }
}
