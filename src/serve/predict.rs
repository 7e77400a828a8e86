//! Makes predictions: turns a request into a response. Every protocol ends here. Counts, traces and
//! logs each prediction once. Knows no protocol: the caller passes a function that encodes the
//! response.

mod slow;

use crate::core::error::{Error, Kind, Result};
use crate::core::model::OutputPlaces;
use crate::core::model::optional::CheckedInputs;
use crate::core::request::id::Mint;
use crate::core::request::{Deadline, Protocol, Request, Response, Target};
use crate::core::tensor::{NamedTensors, Tensor};
use crate::observe::drift::observer::offer::AskedRequest;
use crate::observe::metrics::Metrics;
use crate::observe::traces::{EndedPrediction, Followed, Tracer};
use crate::serve::batch::Done;
use crate::serve::explanations::{AskedExplanation, Explanations, RunningExplanation};
use crate::serve::parts::{self, Submitted};
use crate::serve::route::Routes;
use crate::serve::servable::Servable;
use crate::serve::shadow::{Copied, Shadows};
use slow::SlowLog;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use uuid::Uuid;

/// Makes predictions with the servables of the route table.
pub(crate) struct Predictor {
    routes: Arc<Routes>,
    metrics: Arc<Metrics>,
    shadows: Shadows,
    mint: Arc<Mint>,
    tracer: Option<Tracer>,
    slow: SlowLog,
    explanations: Explanations,
    ready: watch::Sender<bool>,
    is_stopping: AtomicBool,
}

/// What a [`Predictor`] is built from.
pub(crate) struct PredictorParts {
    pub routes: Arc<Routes>,
    pub metrics: Arc<Metrics>,
    pub mint: Arc<Mint>,
    /// Traces predictions, if tracing is on.
    pub tracer: Option<Tracer>,
    /// Threshold of the slow-prediction log; none switches it off.
    pub slow: Option<Duration>,
}

/// A response, and its encoding for the client.
pub(crate) struct Predicted<T> {
    /// The response.
    pub response: Response,
    /// The response in the client's protocol.
    pub encoded: T,
}

impl Predictor {
    /// Starts not ready.
    pub(crate) fn new(parts: PredictorParts) -> Result<Self> {
        Ok(Self {
            shadows: Shadows::start(&parts.metrics)?,
            slow: SlowLog::new(parts.slow),
            explanations: Explanations::default(),
            routes: parts.routes,
            metrics: parts.metrics,
            mint: parts.mint,
            tracer: parts.tracer,
            ready: watch::Sender::new(false),
            is_stopping: AtomicBool::new(false),
        })
    }

    /// Sets whether load balancers should send requests here. A stopping server stays not ready.
    pub(crate) fn set_ready(&self, ready: bool) {
        // The flag is read under the lock of the channel, and `begin_stop` sets it before it takes
        // the lock: whichever comes last, a stopping server is not ready.
        self.ready.send_modify(|current| {
            *current = ready && !self.is_stopping.load(Ordering::SeqCst);
        });
    }

    /// Makes the server not ready for good.
    pub(crate) fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.set_ready(false);
    }

    /// Tells whether a prediction with this target would be served now.
    pub(crate) fn is_model_ready(&self, target: &Target) -> bool {
        let is_able = |servable: Arc<Servable>| servable.problem().is_none();
        !self.is_stopping.load(Ordering::SeqCst) && self.resolve(target).is_ok_and(is_able)
    }

    /// Returns what [`Predictor::set_ready`] set last.
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Watches what [`Predictor::set_ready`] sets.
    pub(crate) fn follow_ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Returns what traces predictions, if spans are sent anywhere.
    pub(crate) fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_ref()
    }

    /// Returns the routes, for protocols that report which models serve.
    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Finds the servable of a target now.
    pub(crate) fn resolve(&self, target: &Target) -> Result<Arc<Servable>> {
        self.routes.resolve(target)
    }

    /// Counts a request that was refused before a servable was found.
    pub(crate) fn refused(&self, protocol: Protocol, error: &Error) {
        tracing::debug!(protocol = protocol.label(), kind = error.kind.label(), %error, "request refused");
        self.metrics.reject(protocol, error.kind);
    }

    /// Starts a prediction with a servable that was resolved before. A request counts once: as
    /// served only if its answer was encoded. Errors name the field at fault; they come with the
    /// answer.
    pub(crate) fn start(
        &self,
        servable: Arc<Servable>,
        mut request: Request,
    ) -> RunningPrediction<'_> {
        servable.metrics.in_flight.inc();
        let mut prediction = Prediction {
            servable,
            protocol: request.protocol,
            arrived: request.arrived,
            id: std::mem::take(&mut request.id),
            followed: self.follow(&request),
            submitted: None,
            outcome: Err(Kind::Cancelled),
        };

        let mut extras = Extras::default();
        let waiting = self.submit(&mut prediction, request, &mut extras);
        RunningPrediction {
            predictor: self,
            prediction,
            extras,
            waiting: waiting.map_err(Some),
        }
    }

    fn follow(&self, request: &Request) -> Option<Followed> {
        let tracer = self.tracer.as_ref()?;
        tracer.follow(request.trace, request.arrived)
    }

    /// Traces and logs a prediction that ended.
    fn record_end(&self, prediction: &Prediction, outcome: Result<&Response, &Error>) {
        if let (Some(tracer), Some(followed)) = (&self.tracer, &prediction.followed) {
            tracer.end(followed, &prediction.ended(outcome));
        }

        self.slow.log_if_slow(prediction, outcome);
        prediction.log(outcome);
    }

    /// Checks a request and queues it.
    fn submit(
        &self,
        prediction: &mut Prediction,
        request: Request,
        extras: &mut Extras,
    ) -> Result<Submitted> {
        let servable = &prediction.servable;
        extras.wanted = servable.signature.select(&request.outputs)?;
        let mut inputs = servable.signature.check(request.inputs)?;
        if let Some(reshapes) = &servable.declared.reshapes {
            inputs = reshapes.to_model(inputs)?;
        }
        let input_bytes = inputs.tensors().map(|t| t.bytes() as u64).sum();
        servable.metrics.input_bytes.inc_by(input_bytes);
        // The model's own time limit does not count how long the client sends.
        let of_model = || Some(Deadline::after(Instant::now(), servable.request_timeout?));
        let deadline = request.deadline.or_else(of_model);

        extras.shadow = self.shadow(servable, &inputs);
        extras.id = self.mint.mint();
        let observer = servable.observer.as_ref();
        extras.asked = observer.map(|observer| observer.asked(extras.id, &inputs));

        prediction.submitted = self.tracer.is_some().then(Instant::now);
        parts::submit(servable, inputs, deadline, request.priority)
    }

    /// Returns the shadow version and a copy of the request for it. The copy shares the bytes, and
    /// is made only if no request waits for the servable.
    fn shadow(
        &self,
        servable: &Servable,
        inputs: &CheckedInputs,
    ) -> Option<(Arc<Servable>, NamedTensors)> {
        let shadow = self.routes.shadow_of(servable)?;
        (!servable.has_waiting()).then(|| (shadow, servable.named(inputs)))
    }
}

/// What is known of a request besides its inputs, until its answer.
#[derive(Default)]
struct Extras {
    id: Uuid,
    /// Places of the outputs that the request selected, in its order.
    wanted: OutputPlaces,
    shadow: Option<(Arc<Servable>, NamedTensors)>,
    /// What the monitor needs of the request.
    asked: Option<AskedRequest>,
}

/// A prediction in progress. Dropping it cancels the request.
pub(crate) struct RunningPrediction<'p> {
    predictor: &'p Predictor,
    prediction: Prediction,
    extras: Extras,
    /// The error is taken by the poll that returns it.
    waiting: Result<Submitted, Option<Error>>,
}

impl RunningPrediction<'_> {
    /// The version that answers.
    pub(crate) fn servable(&self) -> &Servable {
        &self.prediction.servable
    }

    /// Waits for the outputs.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done>> {
        match &mut self.waiting {
            Ok(waiting) => waiting.poll_done(cx),
            Err(error) => Poll::Ready(Err(error
                .take()
                .unwrap_or_else(|| Error::internal("the answer was taken before")))),
        }
    }

    /// Starts to explain the prediction.
    pub(crate) fn explain(&self, asked: AskedExplanation) -> Result<RunningExplanation> {
        let model = self.prediction.servable.explanation.model()?;
        self.predictor.explanations.start(model, asked)
    }

    /// Completes the prediction with what [`RunningPrediction::poll_done`] returned.
    pub(crate) fn finish<T>(
        mut self,
        done: Result<Done>,
        encode: impl FnOnce(&Response, &Servable) -> Result<T>,
    ) -> Result<Predicted<T>> {
        let predicted = done.and_then(|done| {
            let response = self.respond(done)?;
            self.prediction.encoded(response, encode)
        });

        self.prediction.outcome = match &predicted {
            Ok(predicted) => {
                let metrics = &self.prediction.servable.metrics;
                metrics.answered(&predicted.response.timing);
                Ok(())
            }
            Err(error) => Err(error.kind),
        };
        let outcome = predicted.as_ref().map(|predicted| &predicted.response);
        self.predictor.record_end(&self.prediction, outcome);
        predicted
    }

    fn respond(&mut self, done: Done) -> Result<Response> {
        let servable = &self.prediction.servable;
        let extras = std::mem::take(&mut self.extras);
        if let (Some(observer), Some(asked)) = (&servable.observer, extras.asked) {
            observer.answered(extras.id, asked, &done.outputs);
        }

        let outputs = match &servable.declared.reshapes {
            Some(reshapes) => reshapes.to_clients(done.outputs)?,
            None => done.outputs,
        };
        let outputs = selected(servable, &extras.wanted, outputs);
        let output_bytes = outputs.iter().map(|(_, t)| t.bytes() as u64).sum();
        servable.metrics.output_bytes.inc_by(output_bytes);
        if let Some((shadow, inputs)) = extras.shadow {
            self.predictor.shadows.offer(Copied {
                shadow,
                inputs,
                outputs: outputs.clone(),
            });
        }

        Ok(Response {
            model: servable.name.clone(),
            version: servable.version,
            id: String::new(),
            prediction_id: extras.id,
            outputs,
            trace: None,
            timing: done.timing,
        })
    }
}

/// Names the outputs that the request selected, in its order.
fn selected(
    servable: &Servable,
    wanted: &[usize],
    outputs: Vec<Tensor>,
) -> Vec<(Arc<str>, Tensor)> {
    let mut outputs: Vec<_> = outputs.into_iter().map(Some).collect();

    wanted
        .iter()
        .filter_map(|&at| Some((servable.output_name(at), outputs.get_mut(at)?.take()?)))
        .collect()
}

/// A prediction in progress, for its metrics, its trace and its log line. It is counted when it is
/// dropped, whatever the outcome.
struct Prediction {
    servable: Arc<Servable>,
    protocol: Protocol,
    arrived: Instant,
    /// The client's request id, until the response has it.
    id: String,
    followed: Option<Followed>,
    /// When the request entered the queue, if it is traced.
    submitted: Option<Instant>,
    /// Whether it was answered, or why not; cancelled until it is known.
    outcome: Result<(), Kind>,
}

impl Prediction {
    /// Completes a response and encodes it.
    fn encoded<T>(
        &mut self,
        mut response: Response,
        encode: impl FnOnce(&Response, &Servable) -> Result<T>,
    ) -> Result<Predicted<T>> {
        response.id = std::mem::take(&mut self.id);
        response.trace = self.followed.map(|f| f.context.header(f.span));

        match encode(&response, &self.servable) {
            Ok(encoded) => Ok(Predicted { response, encoded }),
            Err(error) => {
                self.id = response.id;
                Err(error)
            }
        }
    }

    fn ended<'e>(&'e self, outcome: Result<&'e Response, &Error>) -> EndedPrediction<'e> {
        EndedPrediction {
            model: self.servable.name.as_str(),
            version: self.servable.version.number(),
            protocol: self.protocol.label(),
            submitted: self.submitted,
            outcome: outcome.map_err(|error| error.kind),
        }
    }

    fn log(&self, outcome: Result<&Response, &Error>) {
        let model = self.servable.name.as_str();
        let version = self.servable.version.number();

        match outcome {
            Ok(response) => {
                let (id, prediction_id) = (&response.id, response.prediction_id);
                let timing = &response.timing;
                let (queue_us, run_us) = (timing.queue.as_micros(), timing.run.as_micros());
                let batch_rows = timing.batch_rows;
                tracing::debug!(model, version, id, %prediction_id, queue_us, run_us, batch_rows, "predicted");
            }
            Err(error) if error.kind == Kind::Internal => {
                let (id, cause) = (&self.id, error.source().map(ToString::to_string));
                tracing::error!(model, version, id, %error, cause, "prediction failed");
            }
            Err(error) => {
                let (id, kind) = (&self.id, error.kind.label());
                tracing::debug!(model, version, id, kind, %error, "prediction refused");
            }
        }
    }
}

impl Drop for Prediction {
    fn drop(&mut self) {
        let metrics = &self.servable.metrics;
        metrics.in_flight.dec();
        metrics.finished(self.protocol, self.outcome, self.arrived.elapsed());
    }
}
