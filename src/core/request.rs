//! One prediction, as every protocol understands it: model and version, deadline,
//! inputs, and the answer. Plain data.

pub(crate) mod id;
pub(crate) mod trace;

use crate::core::error::{Error, Result};
use crate::core::hash::mix;
use crate::core::model::{Alias, ModelName, Version};
use crate::core::tensor::Tensor;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most inputs a request may carry.
pub const INPUTS_MAX: usize = 256;
/// The longest request id a client may send.
pub const ID_BYTES_MAX: usize = 256;

/// Which version of a model a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The highest version served.
    Latest,
    /// Exactly this version.
    Exact(Version),
    /// The version of an alias, which TensorFlow Serving calls a label. Errors use
    /// that word.
    Label(String),
    /// The version that an alias points at.
    Alias(Alias),
}

/// A model and which version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub selector: Selector,
    /// Hash of the route key: in a traffic split, the same key always gets the same
    /// version. Without a key the version is random.
    pub key: Option<u64>,
}

impl Target {
    /// Reads the pair of strings of the Open Inference Protocol: an empty version
    /// means the latest, a version that is no number is an alias.
    pub fn parse(model: &str, version: &str) -> Result<Self> {
        let selector = match version {
            "" => Selector::Latest,
            text => match Version::parse(text) {
                Ok(number) => Selector::Exact(number),
                // Text that begins with a letter is an alias.
                Err(_) if text.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    Selector::Alias(Alias::parse(text)?)
                }
                Err(error) => return Err(error),
            },
        };

        Ok(Self {
            model: ModelName::parse(model)?,
            selector,
            key: None,
        })
    }

    /// Sets the route key; an empty key counts as none.
    pub fn routed_by(mut self, key: &[u8]) -> Self {
        self.key = (!key.is_empty()).then(|| {
            // FNV-1a over name and key, so that models split apart from each
            // other; finished so that the low digits depend on every byte.
            let bytes = self
                .model
                .as_str()
                .bytes()
                .chain([0])
                .chain(key.iter().copied());
            mix(bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| {
                (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
            }))
        });

        self
    }
}

/// The time limit of a request, on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

/// The longest timeout; a longer one is shortened to it.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

impl Deadline {
    /// Sets the deadline `timeout` after `now`, at most [`TIMEOUT_MAX`].
    pub fn after(now: Instant, timeout: Duration) -> Self {
        Self(now + timeout.min(TIMEOUT_MAX))
    }
}

/// The protocols, as metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Open Inference Protocol over gRPC.
    OipGrpc,
    /// Open Inference Protocol over REST.
    OipRest,
    /// TensorFlow Serving over gRPC.
    TfsGrpc,
    /// TensorFlow Serving over REST.
    TfsRest,
    /// MLflow's scoring protocol.
    Mlflow,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 5] = [
        Self::OipGrpc,
        Self::OipRest,
        Self::TfsGrpc,
        Self::TfsRest,
        Self::Mlflow,
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::OipGrpc => "oip_grpc",
            Self::OipRest => "oip_rest",
            Self::TfsGrpc => "tfs_grpc",
            Self::TfsRest => "tfs_rest",
            Self::Mlflow => "mlflow",
        }
    }
}

/// A request for a prediction, without the model, which is resolved before.
#[derive(Debug)]
pub struct Request {
    /// The client's request id; returned, never interpreted.
    pub id: String,
    /// The protocol that it arrived by.
    pub protocol: Protocol,
    /// When its headers arrived.
    pub arrived: Instant,
    /// `None` uses the model's default.
    pub deadline: Option<Deadline>,
    /// 0 is the default and the highest priority; greater numbers wait longer.
    pub priority: u8,
    /// Named tensors, in any order.
    pub inputs: Vec<(String, Tensor)>,
    /// The requested outputs; empty means all.
    pub outputs: Vec<String>,
    /// The caller's trace.
    pub trace: Option<trace::Context>,
}

impl Request {
    /// Refuses an id or a number of inputs over its limit.
    pub fn check_limits(id: &str, inputs: usize) -> Result<()> {
        if id.len() > ID_BYTES_MAX {
            return Err(Error::invalid(format!(
                "the request id is over {ID_BYTES_MAX} bytes; send a shorter one"
            )));
        }

        if inputs > INPUTS_MAX {
            return Err(Error::invalid(format!(
                "{inputs} inputs are over the limit of {INPUTS_MAX}"
            )));
        }

        Ok(())
    }
}

/// Durations of the phases of a prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From submission to the start of the batch.
    pub queue: Duration,
    /// Gathering the batch's inputs.
    pub gather: Duration,
    /// Running ONNX Runtime.
    pub run: Duration,
    /// Cutting the batch's outputs into those of its requests.
    pub scatter: Duration,
    /// Rows of the batch this request was part of.
    pub batch_rows: u32,
    /// Number of that batch.
    pub batch: u64,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Response {
    /// The model.
    pub model: ModelName,
    /// The version that answered.
    pub version: Version,
    /// The client's own id.
    pub id: String,
    /// The prediction id, a UUIDv7 signed by the fleet.
    pub prediction_id: uuid::Uuid,
    /// Named outputs, in the requested order.
    pub outputs: Vec<(Arc<str>, Tensor)>,
    /// The span of this prediction, as a `traceparent` header.
    pub trace: Option<String>,
    /// Where the time went.
    pub timing: Timing,
}
