//! Traces of predictions: sampling, spans, and the bounded queue to the exporter. Reads W3C trace
//! context; sends nothing itself.

#[cfg(test)]
mod tests;

use crate::core::error::Kind;
use crate::core::request::{Response, Timing, trace::Context};
use crate::core::settings::form::TextLine;
use prometheus::IntCounter;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

crate::section! {
    /// Distributed tracing with OpenTelemetry.
    TraceSettings {
        /// OTLP collector to which spans are sent over gRPC, such as `http://HOST:4317`.
        endpoint: Option<String> as TextLine = None;
        /// Share of predictions that is traced if the client sends no `traceparent`. A client's
        /// `traceparent` decides for its own request.
        share: f64 = 0.01, in 0.0..=1.0;
    }
}

/// Most spans that wait to be sent; further ones are dropped and counted.
const SPANS_MAX: usize = 16 << 10;

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AttributeValue {
    Text(String),
    Whole(i64),
}

/// A span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub trace: u128,
    pub id: u64,
    /// Id of the parent span; 0 for a root span.
    pub parent: u64,
    pub name: &'static str,
    /// Whether it is the server span of a request.
    pub is_server: bool,
    pub start_ns: u64,
    pub end_ns: u64,
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// The reason, if it failed.
    pub error: Option<&'static str>,
}

/// The receiving end of the queue of spans.
pub(crate) type Outbox = mpsc::Receiver<Span>;

/// Which predictions are traced.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sampling {
    /// Whether any are.
    pub is_on: bool,
    /// The share of those whose client sends no `traceparent`.
    pub share: f64,
    /// How many more of these; any number if it is not set.
    pub left: Option<u64>,
}

/// Traces predictions.
pub(crate) struct Tracer {
    /// As it was configured.
    configured: Sampling,
    is_on: AtomicBool,
    /// The bits of the share.
    share: AtomicU64,
    /// [`UNLIMITED`] for any number.
    left: AtomicU64,
    queue: mpsc::Sender<Span>,
    dropped: IntCounter,
}

/// A prediction that is traced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Followed {
    pub context: Context,
    /// Id of the span of the whole prediction.
    pub span: u64,
    begun: SystemTime,
    arrived: Instant,
}

/// A prediction that ended.
pub(crate) struct EndedPrediction<'e> {
    pub model: &'e str,
    pub version: u64,
    pub protocol: &'static str,
    pub submitted: Option<Instant>,
    pub outcome: Result<&'e Response, Kind>,
}

/// Stands for any number of traces.
const UNLIMITED: u64 = u64::MAX;

impl Followed {
    /// Returns when the prediction arrived, in nanoseconds since 1970.
    fn begun_ns(&self) -> u64 {
        self.begun.duration_since(UNIX_EPOCH).map_or(0, ns)
    }

    /// Returns an instant in nanoseconds since 1970.
    fn at_ns(&self, instant: Instant) -> u64 {
        self.begun_ns() + ns(instant.saturating_duration_since(self.arrived))
    }
}

impl Tracer {
    /// Traces requests whose `traceparent` is sampled, and a share of those without one.
    pub(crate) fn new(share: f64, dropped: IntCounter) -> (Self, Outbox) {
        let (queue, outbox) = mpsc::channel(SPANS_MAX);
        let configured = Sampling {
            is_on: true,
            share,
            left: None,
        };
        (
            Self {
                configured,
                is_on: AtomicBool::new(true),
                share: AtomicU64::new(share.to_bits()),
                left: AtomicU64::new(UNLIMITED),
                queue,
                dropped,
            },
            outbox,
        )
    }

    /// Returns which predictions are traced.
    pub(crate) fn sampling(&self) -> Sampling {
        let left = self.left.load(Ordering::Relaxed);
        Sampling {
            is_on: self.is_on.load(Ordering::Relaxed),
            share: f64::from_bits(self.share.load(Ordering::Relaxed)),
            left: (left != UNLIMITED).then_some(left),
        }
    }

    /// Returns which predictions are traced as it was configured.
    pub(crate) fn configured(&self) -> Sampling {
        self.configured
    }

    /// Changes which predictions are traced.
    pub(crate) fn sample(&self, sampling: Sampling) {
        let left = sampling.left.unwrap_or(UNLIMITED);
        self.share
            .store(sampling.share.to_bits(), Ordering::Relaxed);
        self.left.store(left, Ordering::Relaxed);
        self.is_on.store(sampling.is_on, Ordering::Relaxed);
    }

    /// Takes one of the traces that are left.
    fn take(&self) -> bool {
        let less = |left| match left {
            0 => None,
            UNLIMITED => Some(UNLIMITED),
            left => Some(left - 1),
        };
        let relaxed = Ordering::Relaxed;
        self.left.fetch_update(relaxed, relaxed, less).is_ok()
    }

    /// Decides whether a prediction is traced.
    pub(crate) fn follow(&self, came: Option<Context>, arrived: Instant) -> Option<Followed> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let random = uuid::Uuid::new_v4().as_u128();
        let context = match came {
            Some(context) => context,
            None => {
                let share = f64::from_bits(self.share.load(Ordering::Relaxed));
                let sampled = ((random >> 64) as u64 as f64) < share * u64::MAX as f64;
                Context {
                    trace: random.rotate_left(17),
                    parent: 0,
                    sampled: sampled && self.take(),
                }
            }
        };

        let begun = SystemTime::now()
            .checked_sub(arrived.elapsed())
            .unwrap_or(UNIX_EPOCH);
        context.sampled.then_some(Followed {
            context,
            span: (random as u64) | 1,
            begun,
            arrived,
        })
    }

    /// Queues the spans of a prediction that ended.
    pub(crate) fn end(&self, followed: &Followed, ended: &EndedPrediction<'_>) {
        for span in spans(followed, ended, Instant::now()) {
            if self.queue.try_send(span).is_err() {
                self.dropped.inc();
            }
        }
    }
}

/// Returns the spans of a prediction: the whole and, if it was answered, its time in the queue, in
/// gathering the batch and in ONNX Runtime.
fn spans(followed: &Followed, ended: &EndedPrediction<'_>, now: Instant) -> Vec<Span> {
    let whole = Span {
        trace: followed.context.trace,
        id: followed.span,
        parent: followed.context.parent,
        name: "predict",
        is_server: true,
        start_ns: followed.begun_ns(),
        end_ns: followed.at_ns(now),
        attributes: attributes(ended),
        error: ended.outcome.err().map(Kind::label),
    };

    let mut spans = vec![whole];
    if let (Ok(response), Some(submitted)) = (ended.outcome, ended.submitted) {
        spans.extend(phase_spans(followed, &response.timing, submitted));
    }
    spans
}

/// Describes a prediction: its model, how it came and, if it was answered, its ids.
fn attributes(ended: &EndedPrediction<'_>) -> Vec<(&'static str, AttributeValue)> {
    let text = |text: &str| AttributeValue::Text(text.to_owned());
    let version = AttributeValue::Whole(ended.version.cast_signed());
    let mut attributes = vec![
        ("ortus.model", text(ended.model)),
        ("ortus.version", version),
        ("ortus.protocol", text(ended.protocol)),
    ];

    if let Ok(response) = ended.outcome {
        let prediction = AttributeValue::Text(response.prediction_id.to_string());
        attributes.push(("ortus.prediction_id", prediction));
        attributes.push(("ortus.request_id", text(&response.id)));
    }
    attributes
}

/// Returns the spans of the queue, of gathering the batch and of the run.
fn phase_spans(followed: &Followed, timing: &Timing, submitted: Instant) -> [Span; 3] {
    let batch = vec![
        (
            "ortus.batch_id",
            AttributeValue::Whole(timing.batch.cast_signed()),
        ),
        (
            "ortus.batch_rows",
            AttributeValue::Whole(timing.batch_rows.into()),
        ),
    ];
    let queue_start = followed.at_ns(submitted);
    let queue_end = queue_start + ns(timing.queue);
    let gather_end = queue_end + ns(timing.gather);
    let run_end = gather_end + ns(timing.run);

    let phase = |place: u64, name, start_ns, end_ns, attributes| Span {
        trace: followed.context.trace,
        // Ids only need to differ within a trace.
        id: followed.span.wrapping_add(place << 1),
        parent: followed.span,
        name,
        is_server: false,
        start_ns,
        end_ns,
        attributes,
        error: None,
    };
    [
        phase(1, "queue", queue_start, queue_end, Vec::new()),
        phase(2, "batch", queue_end, gather_end, batch.clone()),
        phase(3, "run", gather_end, run_end, batch),
    ]
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
