//! The one use case: a request becomes a response. Every protocol ends here.

use crate::core::error::{Error, Kind, Result};
use crate::core::request::id::Mint;
use crate::core::request::{Deadline, Protocol, Request, Response, Target, Timing};
use crate::observe::metrics::{Metrics, ServableMetrics};
use crate::observe::traces::{Ended, Tracer};
use crate::serve::route::Routes;
use crate::serve::servable::Servable;
use crate::serve::shadow::{Copied, Shadows};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Makes predictions with whatever the route table holds.
pub(crate) struct Predictor {
    routes: Arc<Routes>,
    metrics: Arc<Metrics>,
    shadows: Shadows,
    mint: Arc<Mint>,
    tracer: Option<Tracer>,
    slow: Slow,
    ready: watch::Sender<bool>,
}

/// What it needs.
pub(crate) struct Parts {
    pub routes: Arc<Routes>,
    pub metrics: Arc<Metrics>,
    pub mint: Arc<Mint>,
    /// Follows predictions, where that is on.
    pub tracer: Option<Tracer>,
    /// How long a prediction takes that is told of in the log; none for never.
    pub slow: Option<Duration>,
}

impl Predictor {
    /// Starts not ready.
    pub(crate) fn new(parts: Parts) -> Result<Self> {
        let Parts {
            routes,
            metrics,
            mint,
            tracer,
            slow,
        } = parts;
        let shadows = Shadows::start(&metrics)?;
        let slow = Slow {
            from: slow,
            told: Mutex::new((Instant::now(), 0)),
        };
        Ok(Self {
            routes,
            metrics,
            shadows,
            mint,
            tracer,
            slow,
            ready: watch::Sender::new(false),
        })
    }

    /// Says whether load balancers should send requests here.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.send_replace(ready);
    }

    /// Tells what [`Predictor::set_ready`] said.
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Follows what [`Predictor::set_ready`] says.
    pub(crate) fn follow_ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// The routes, for front ends that report what serves.
    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Binds a target to the servable of this moment.
    pub(crate) fn resolve(&self, target: &Target) -> Result<Arc<Servable>> {
        self.routes.resolve(target)
    }

    /// Counts a request that was refused before a servable was found.
    pub(crate) fn refused(&self, protocol: Protocol, error: &Error) {
        tracing::debug!(protocol = protocol.label(), kind = error.kind.label(), %error, "request refused");
        self.metrics.reject(protocol, error.kind);
    }

    /// Predicts with a servable that was resolved before. Errors name the field
    /// at fault. Dropping the future cancels the request.
    pub(crate) async fn predict_on(
        &self,
        servable: &Arc<Servable>,
        request: Request,
    ) -> Result<Response> {
        let mut trace = Trace::start(&servable.metrics, request.protocol, request.arrived);
        let followed = self
            .tracer
            .as_ref()
            .and_then(|tracer| tracer.follow(request.trace, request.arrived));
        let (protocol, arrived) = (request.protocol, request.arrived);
        // Costs nothing where the client sent none.
        let id = request.id.clone();
        let mut submitted = None;
        let mut result = self.serve(servable, request, &mut submitted).await;
        trace.outcome = match &result {
            Ok(response) => Ok(response.timing.queue),
            Err(error) => Err(error.kind),
        };
        if let (Some(tracer), Some(followed)) = (&self.tracer, &followed) {
            let (model, version) = (servable.name.as_str(), servable.version.number());
            let outcome = result.as_ref().map_err(|error| error.kind);
            tracer.end(
                followed,
                &Ended {
                    model,
                    version,
                    protocol: protocol.label(),
                    submitted,
                    outcome,
                },
            );
            if let Ok(response) = &mut result {
                response.trace = Some(followed.context.header(followed.span));
            }
        }
        self.slow.look(servable, &result, arrived);
        let (model, version) = (servable.name.as_str(), servable.version.number());
        match &result {
            Ok(Response {
                prediction_id,
                timing,
                ..
            }) => {
                let (queue_us, run_us) = (timing.queue.as_micros(), timing.run.as_micros());
                let batch_rows = timing.batch_rows;
                tracing::debug!(model, version, id, %prediction_id, queue_us, run_us, batch_rows, "predicted");
            }
            Err(error) if error.kind == Kind::Internal => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::error!(model, version, id, %error, cause, "prediction failed");
            }
            Err(error) => {
                tracing::debug!(model, version, id, kind = error.kind.label(), %error, "prediction refused");
            }
        }
        result
    }

    async fn serve(
        &self,
        servable: &Servable,
        request: Request,
        submitted: &mut Option<Instant>,
    ) -> Result<Response> {
        let wanted = servable.signature.select(&request.outputs)?;
        let inputs = servable.signature.check(request.inputs)?;
        servable
            .metrics
            .input_bytes
            .inc_by(inputs.iter().map(|t| t.bytes() as u64).sum());
        let deadline = request
            .deadline
            .unwrap_or_else(|| Deadline::after(request.arrived, servable.deadline));
        // Shares the bytes; made only where somebody wants it, and there is time.
        let copied = self
            .routes
            .shadow_of(servable)
            .filter(|_| !servable.has_waiting());
        let copied = copied.map(|shadow| (shadow, servable.named(&inputs)));
        let prediction_id = self.mint.mint();
        let observer = servable.observer.as_ref();
        let sampled = observer.and_then(|observer| observer.asked(prediction_id, &inputs));
        *submitted = self.tracer.is_some().then(Instant::now);
        let done = servable.run(inputs, deadline, request.priority).await?;
        if let Some(observer) = observer {
            observer.answered(&done.outputs);
            sampled
                .into_iter()
                .for_each(|inputs| observer.offer(prediction_id, inputs, done.outputs.clone()));
        }
        let mut outputs: Vec<_> = done.outputs.into_iter().map(Some).collect();
        let outputs: Vec<_> = wanted
            .into_iter()
            .filter_map(|at| Some((servable.output_name(at), outputs.get_mut(at)?.take()?)))
            .collect();
        servable
            .metrics
            .output_bytes
            .inc_by(outputs.iter().map(|(_, t)| t.bytes() as u64).sum());
        if let Some((shadow, inputs)) = copied {
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
}

/// Tells of predictions that take long, a few a second at most.
struct Slow {
    from: Option<Duration>,
    /// The second under way, and how many were told in it.
    told: Mutex<(Instant, u32)>,
}

/// Slow predictions told of in a second.
const TOLD_MAX: u32 = 10;

impl Slow {
    fn look(&self, servable: &Servable, result: &Result<Response>, arrived: Instant) {
        let Some(from) = self.from else { return };
        let took = arrived.elapsed();
        if took < from || !self.may_tell() {
            return;
        }
        let (model, version) = (servable.name.as_str(), servable.version.number());
        let took_us = took.as_micros();
        match result {
            Ok(Response {
                prediction_id,
                id,
                trace,
                timing,
                ..
            }) => {
                let trace = trace.as_deref().and_then(|t| t.split('-').nth(1));
                let Timing {
                    queue,
                    gather,
                    run,
                    batch_rows,
                    batch,
                } = *timing;
                let (queue_us, gather_us, run_us) =
                    (queue.as_micros(), gather.as_micros(), run.as_micros());
                tracing::warn!(
                    model, version, took_us, queue_us, gather_us, run_us, batch, batch_rows, %prediction_id, id, trace,
                    "slow prediction"
                );
            }
            Err(error) => {
                tracing::warn!(model, version, took_us, kind = error.kind.label(), %error, "slow prediction");
            }
        }
    }

    fn may_tell(&self) -> bool {
        let mut told = self.told.lock();
        if told.0.elapsed() >= Duration::from_secs(1) {
            *told = (Instant::now(), 0);
        }
        told.1 += 1;
        told.1 <= TOLD_MAX
    }
}

/// Counts a prediction when it ends, however it ends.
struct Trace<'m> {
    metrics: &'m ServableMetrics,
    protocol: Protocol,
    arrived: Instant,
    /// Cancelled until told otherwise.
    outcome: Result<Duration, Kind>,
}

impl<'m> Trace<'m> {
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

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.metrics
            .finished(self.protocol, self.outcome, self.arrived.elapsed());
    }
}
