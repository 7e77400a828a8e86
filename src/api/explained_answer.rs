//! The answer to a request whose prediction is to be explained: waits for the prediction, then for its explanation, and
//! adds that to the outputs.

use crate::core::error::{Error, Result};
use crate::core::request::Response;
use crate::core::tensor::NamedTensors;
use crate::serve::batch::Done;
use crate::serve::explanations::{AskedExplanation, RunningExplanation};
use crate::serve::predict::RunningPrediction;
use std::task::{Context, Poll, ready};

/// What explains an answer.
pub(crate) struct ExplainedAnswer {
    /// Until the prediction is there.
    asked: Option<AskedExplanation>,
    /// From then on.
    explained: Option<(Done, RunningExplanation)>,
    outputs: NamedTensors,
}

impl ExplainedAnswer {
    pub(crate) fn new(asked: AskedExplanation) -> Self {
        Self {
            asked: Some(asked),
            explained: None,
            outputs: Vec::new(),
        }
    }

    /// Waits for the outputs of a prediction and for their explanation.
    pub(crate) fn poll(
        &mut self,
        prediction: &mut RunningPrediction<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Done>> {
        if let Some(asked) = self.asked.take() {
            match prediction.poll_done(cx) {
                Poll::Pending => {
                    self.asked = Some(asked);
                    return Poll::Pending;
                }
                Poll::Ready(done) => {
                    let done = done?;
                    self.explained = Some((done, prediction.explain(asked)?));
                }
            }
        }

        let taken = || Error::internal("the explained answer was taken before");
        let (_, explaining) = self.explained.as_mut().ok_or_else(taken)?;
        self.outputs = ready!(explaining.poll(cx))?;
        let (done, explaining) = self.explained.take().ok_or_else(taken)?;
        prediction
            .servable()
            .metrics
            .explained(explaining.elapsed());
        Poll::Ready(Ok(done))
    }

    /// Adds the explanation to a response.
    pub(crate) fn added_to(self, response: &Response) -> Response {
        let more = self.outputs.into_iter();
        let more = more.map(|(name, tensor)| (name.into(), tensor));
        Response {
            model: response.model.clone(),
            version: response.version,
            id: response.id.clone(),
            prediction_id: response.prediction_id,
            outputs: response.outputs.iter().cloned().chain(more).collect(),
            trace: response.trace.clone(),
            timing: response.timing,
        }
    }
}
