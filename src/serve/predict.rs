//! Makes predictions: turns a request into a response. Every protocol ends here. Counts, traces and
//! logs each prediction once. Knows no protocol: the caller passes a function that encodes the
//! response.

mod slow;

use crate::core::error::{Error, Kind, Result};
use crate::core::model::optional::CheckedInputs;
use crate::core::request::id::Mint;
use crate::core::request::{Deadline, Protocol, Request, Response, Target};
use crate::core::tensor::{NamedTensors, Tensor};
use crate::observe::metrics::Metrics;
use crate::observe::metrics::servable::ServableMetrics;
use crate::observe::traces::{EndedPrediction, Followed, Tracer};
use crate::serve::route::Routes;
use crate::serve::servable::Servable;
use crate::serve::shadow::{Copied, Shadows};
use slow::SlowLog;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Makes predictions with the servables of the route table.
pub(crate) struct Predictor {
    routes: Arc<Routes>,
    metrics: Arc<Metrics>,
    shadows: Shadows,
    mint: Arc<Mint>,
    tracer: Option<Tracer>,
    slow: SlowLog,
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

    /// Predicts with a servable that was resolved before, and encodes the
    /// answer. A request counts once: as served only if its answer was encoded.
    /// Errors name the field at fault. Dropping the future cancels the request.
    pub(crate) async fn predict_encoded<T>(
        &self,
        servable: &Arc<Servable>,
        mut request: Request,
        encode: impl FnOnce(&Response) -> Result<T>,
    ) -> Result<Predicted<T>> {
        let mut count =
            PredictionCount::start(&servable.metrics, request.protocol, request.arrived);
        let mut prediction = Prediction {
            servable,
            protocol: request.protocol,
            arrived: request.arrived,
            id: std::mem::take(&mut request.id),
            followed: self.follow(&request),
            submitted: None,
        };

        let served = self
            .serve(servable, request, &mut prediction.submitted)
            .await;
        let predicted = served.and_then(|response| prediction.encoded(response, encode));

        count.outcome = match &predicted {
            Ok(predicted) => Ok(predicted.response.timing.queue),
            Err(error) => Err(error.kind),
        };
        let outcome = predicted.as_ref().map(|predicted| &predicted.response);
        self.record_end(&prediction, outcome);

        predicted
    }

    fn follow(&self, request: &Request) -> Option<Followed> {
        let tracer = self.tracer.as_ref()?;
        tracer.follow(request.trace, request.arrived)
    }

    /// Traces and logs a prediction that ended.
    fn record_end(&self, prediction: &Prediction<'_>, outcome: Result<&Response, &Error>) {
        if let (Some(tracer), Some(followed)) = (&self.tracer, &prediction.followed) {
            tracer.end(followed, &prediction.ended(outcome));
        }

        self.slow.log_if_slow(prediction, outcome);
        prediction.log(outcome);
    }

    async fn serve(
        &self,
        servable: &Servable,
        request: Request,
        submitted: &mut Option<Instant>,
    ) -> Result<Response> {
        let wanted = servable.signature.select(&request.outputs)?;
        let inputs = servable.signature.check(request.inputs)?;
        let input_bytes = inputs.tensors().map(|t| t.bytes() as u64).sum();
        servable.metrics.input_bytes.inc_by(input_bytes);
        // The model's own time limit does not count how long the client sends.
        let of_model = || Some(Deadline::after(Instant::now(), servable.request_timeout?));
        let deadline = request.deadline.or_else(of_model);

        let shadow = self.shadow(servable, &inputs);
        let prediction_id = self.mint.mint();
        let observer = servable.observer.as_ref();
        let sampled = observer.and_then(|observer| observer.asked(prediction_id, &inputs));

        *submitted = self.tracer.is_some().then(Instant::now);
        let done = servable.run(inputs, deadline, request.priority).await?;

        if let Some(observer) = observer {
            observer.answered(&done.outputs);
            if let Some(inputs) = sampled {
                observer.offer(prediction_id, inputs, done.outputs.clone());
            }
        }

        let outputs = selected(servable, &wanted, done.outputs);
        let output_bytes = outputs.iter().map(|(_, t)| t.bytes() as u64).sum();
        servable.metrics.output_bytes.inc_by(output_bytes);
        if let Some((shadow, inputs)) = shadow {
            self.shadows.offer(Copied {
                shadow,
                inputs,
                outputs: outputs.clone(),
            });
        }

        Ok(Response {
            model: servable.name.clone(),
            version: servable.version,
            id: request.id,
            prediction_id,
            outputs,
            trace: None,
            timing: done.timing,
        })
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

/// A prediction in progress, for its trace and its log line.
struct Prediction<'p> {
    servable: &'p Servable,
    protocol: Protocol,
    arrived: Instant,
    /// The client's request id, until the response has it.
    id: String,
    followed: Option<Followed>,
    /// When the request entered the queue, if it is traced.
    submitted: Option<Instant>,
}

impl Prediction<'_> {
    /// Completes a response and encodes it.
    fn encoded<T>(
        &mut self,
        mut response: Response,
        encode: impl FnOnce(&Response) -> Result<T>,
    ) -> Result<Predicted<T>> {
        response.id = std::mem::take(&mut self.id);
        response.trace = self.followed.map(|f| f.context.header(f.span));

        match encode(&response) {
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

/// Counts a prediction when it ends, whatever the outcome.
struct PredictionCount<'m> {
    metrics: &'m ServableMetrics,
    protocol: Protocol,
    arrived: Instant,
    /// The outcome; cancelled until it is known.
    outcome: Result<Duration, Kind>,
}

impl<'m> PredictionCount<'m> {
    fn start(metrics: &'m ServableMetrics, protocol: Protocol, arrived: Instant) -> Self {
        metrics.in_flight.inc();
        Self {
            metrics,
            protocol,
            arrived,
            outcome: Err(Kind::Cancelled),
        }
    }
}

impl Drop for PredictionCount<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.metrics
            .finished(self.protocol, self.outcome, self.arrived.elapsed());
    }
}
