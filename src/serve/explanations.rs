//! Explains predictions on request: which input contributed how much to a score. Owns two threads, which start with the
//! first explanation that takes long, and a bounded queue before them; what takes little is done at once. A prediction
//! without this request meets none of it.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::model::Signature;
use crate::core::request::Deadline;
use crate::core::tensor::NamedTensors;
use crate::explain::file;
use crate::explain::model::ExplainedModel;
use crate::explain::request::{ExplainRequest, check_request};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The most steps that an I/O thread takes itself, so that they stay under half a millisecond.
const IN_PLACE_STEPS: u64 = 20_000;
/// The most requests that wait for a thread; further ones are refused.
const QUEUE_MAX: usize = 64;
/// The threads.
const THREADS: usize = 2;

/// What explains the predictions of a version.
#[derive(Debug)]
pub(crate) enum VersionExplanation {
    /// The version has no such file.
    None,
    /// It cannot be used, for this reason. The version serves all the same.
    Broken(String),
    Ready(Arc<ExplainedModel>),
}

impl VersionExplanation {
    /// Reads the file of a version, if it has one.
    pub(crate) fn read(file: Option<Result<Bytes>>, signature: &Signature) -> Self {
        let read = |bytes: Bytes| {
            let model = file::read(&bytes)?;
            model.check_signature(signature)?;
            Ok(model)
        };
        match file.map(|bytes| bytes.and_then(read)) {
            None => Self::None,
            Some(Ok(model)) => Self::Ready(Arc::new(model)),
            Some(Err(error)) => Self::Broken(error.message),
        }
    }

    /// Returns the model as it is explained. Refuses a version without an explanation.
    pub(crate) fn model(&self) -> Result<&Arc<ExplainedModel>> {
        match self {
            Self::Ready(model) => Ok(model),
            Self::None => Err(Error::precondition(
                "the version has no explanation; ortus-trainer writes one for trees and linear models, unless 'explanations' in [publish] is false; send the request without ortus-explain",
            )),
            Self::Broken(reason) => Err(Error::precondition(format!(
                "the explanation of the version cannot be used: {reason}; send the request without ortus-explain, or publish the version again"
            ))),
        }
    }
}

/// A request whose prediction is to be explained.
pub(crate) struct AskedExplanation {
    /// How many contributions are wanted of each score.
    pub top: usize,
    pub inputs: NamedTensors,
    pub deadline: Option<Deadline>,
}

/// An explanation that a thread computes.
struct ExplanationJob {
    model: Arc<ExplainedModel>,
    asked: AskedExplanation,
    reply: oneshot::Sender<Result<NamedTensors>>,
}

/// An explanation in progress. Dropping it ends the work.
pub(crate) struct RunningExplanation {
    began: Instant,
    progress: ExplanationProgress,
}

enum ExplanationProgress {
    Done(NamedTensors),
    Waiting(oneshot::Receiver<Result<NamedTensors>>),
}

impl RunningExplanation {
    /// Waits for the outputs that explain the request.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<NamedTensors>> {
        match &mut self.progress {
            ExplanationProgress::Done(outputs) => Poll::Ready(Ok(std::mem::take(outputs))),
            ExplanationProgress::Waiting(answer) => Pin::new(answer).poll(cx).map(|answer| {
                answer.unwrap_or_else(|_| Err(Error::internal("a prediction was not explained")))
            }),
        }
    }

    /// Returns how long it has taken, the wait for a thread included.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Explains predictions. Dropping it ends its threads.
#[derive(Default)]
pub(crate) struct Explanations {
    jobs: Mutex<Option<Sender<ExplanationJob>>>,
}

impl Explanations {
    /// Starts to explain a request; what takes little is done at once. Refuses it where too many wait.
    pub(crate) fn start(
        &self,
        model: &Arc<ExplainedModel>,
        asked: AskedExplanation,
    ) -> Result<RunningExplanation> {
        let began = Instant::now();
        let rows = check_request(model, &asked.inputs, asked.top)?;
        if model.row_steps().saturating_mul(rows as u64) <= IN_PLACE_STEPS {
            let outputs = explain(model, &asked, &|| false)?;
            return Ok(RunningExplanation {
                began,
                progress: ExplanationProgress::Done(outputs),
            });
        }

        let (reply, answer) = oneshot::channel();
        let job = ExplanationJob {
            model: Arc::clone(model),
            asked,
            reply,
        };
        match self.jobs()?.try_send(job) {
            Ok(()) => Ok(RunningExplanation {
                began,
                progress: ExplanationProgress::Waiting(answer),
            }),
            Err(TrySendError::Full(_)) => Err(Error::overloaded(format!(
                "{QUEUE_MAX} requests wait to be explained; retry later, or send the request without ortus-explain"
            ))),
            Err(TrySendError::Disconnected(_)) => {
                Err(Error::internal("the threads that explain have ended"))
            }
        }
    }

    /// The queue, whose threads start now if they have not.
    fn jobs(&self) -> Result<Sender<ExplanationJob>> {
        let mut jobs = self.jobs.lock();
        if let Some(jobs) = &*jobs {
            return Ok(jobs.clone());
        }
        let (sender, inbox) = bounded(QUEUE_MAX);
        for number in 0..THREADS {
            let inbox = inbox.clone();
            std::thread::Builder::new()
                .name(format!("explain-{number}"))
                .spawn(move || serve(&inbox))
                .map_err(|e| Error::internal("start a thread that explains").with_source(e))?;
        }
        Ok(jobs.insert(sender).clone())
    }
}

fn serve(inbox: &Receiver<ExplanationJob>) {
    while let Ok(job) = inbox.recv() {
        let ExplanationJob {
            model,
            asked,
            reply,
        } = job;
        // A panic ends its own request only.
        let explained = catch_unwind(AssertUnwindSafe(|| {
            explain(&model, &asked, &|| reply.is_closed())
        }));
        let explained =
            explained.unwrap_or_else(|_| Err(Error::internal("a thread that explains panicked")));
        // Nobody waits any more where this fails.
        let _ = reply.send(explained);
    }
}

/// Explains a request, unless its deadline passes or nobody waits any more.
fn explain(
    model: &ExplainedModel,
    asked: &AskedExplanation,
    is_given_up: &dyn Fn() -> bool,
) -> Result<NamedTensors> {
    let is_late = || {
        asked
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline.0)
    };
    let request = ExplainRequest::new(model, &asked.inputs, asked.top)?;
    let explained = request.explain(|| match is_given_up() || is_late() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })?;
    explained.ok_or_else(|| Error::late("the deadline passed while the prediction was explained"))
}
