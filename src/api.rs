//! Listeners and protocols: what clients and operators call, over HTTP and gRPC.
//!
//! A data listener (`listen`) hands each connection to `connection`, and each
//! request to `serve`, which picks the protocol by the path: the Open Inference
//! Protocol (`oip`), TensorFlow Serving (`tfs`), labels (`labels`), or REST
//! (`rest`). Every prediction takes the path in `inbound`. The ops and the
//! operator listener (`ops`, `operator`) run beside the data path (`side`).
//! Imports serve, registry and observe. With `client` the only wing that names
//! hyper or tonic. Decides nothing about models.

pub(crate) mod body;
pub(crate) mod bounded_codec;
mod connection;
mod decoded_size;
mod explained_answer;
mod headers;
mod inbound;
mod inflate;
mod labels;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod memory;
pub(crate) mod mlflow;
pub(crate) mod oip;
mod openapi;
pub(crate) mod operator;
pub(crate) mod ops;
mod request_body;
mod rest;
pub(crate) mod serve;
pub(crate) mod side;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod tables;
pub(crate) mod tfs;
pub(crate) mod unary;
mod unread;

use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::core::request::Protocol;
use crate::core::tensor::Tensor;
use crate::observe::drift::observer::Monitor;
use crate::observe::labels::Feedback;
use crate::observe::logging::LogFormat;
use crate::observe::metrics::Metrics;
use crate::observe::metrics::aliases::MetricAliases;
use crate::registry::directory::supplied::Supply;
use crate::registry::pbtxt::model_list::ModelList;
use crate::serve::manager::Manager;
use crate::serve::predict::Predictor;
use limits::Limits;
use oip::options::OipOptions;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use stop::Stop;

/// What every protocol and listener shares.
pub(crate) struct Front {
    pub predictor: Arc<Predictor>,
    pub manager: Manager,
    pub metrics: Arc<Metrics>,
    pub limits: Limits,
    /// Where the HTTP listener is bound.
    pub http: SocketAddr,
    /// The effective configuration as JSON, for the operator listener.
    pub config: String,
    /// The address and namespace of the registry that this server follows.
    pub registry: Option<(String, String)>,
    /// Monitors the served models, where monitoring is on.
    pub monitor: Option<Arc<Monitor>>,
    /// Takes ground-truth labels, where labels are on.
    pub labels: Option<Arc<Feedback>>,
    /// How the Open Inference Protocol is spoken.
    pub oip: OipOptions,
    /// What clients may see and change.
    pub options: FrontOptions,
    /// The bytes of requests in flight.
    pub in_flight: Budget,
    /// What the stop tells requests.
    pub stop: Stop,
}

/// What clients may see and change beside predictions.
pub(crate) struct FrontOptions {
    /// Under which further names metrics are given.
    pub metric_aliases: MetricAliases,
    /// Where the HTTP listener has metrics too.
    pub metrics_path: Option<String>,
    /// Whether calls may change settings of the log and of traces.
    pub accepts_settings: bool,
    /// The format of the log.
    pub log_format: LogFormat,
    /// Whether calls may replace the list of models.
    pub accepts_reload: bool,
}

impl Front {
    /// Loads a model, as [`Manager::load`] does. A stopping server abandons the load.
    pub(crate) async fn load(&self, name: ModelName, supply: Supply) -> Result<()> {
        self.unless_stopped(self.manager.load(name, supply)).await
    }

    /// Replaces the list of models, as [`Manager::relist`] does. A stopping server abandons it.
    pub(crate) async fn relist(&self, list: ModelList) -> Result<()> {
        self.unless_stopped(self.manager.relist(list)).await
    }

    /// What a client of a protocol is told of an error.
    fn told(&self, error: Error, protocol: Protocol) -> Error {
        status::told(error, protocol, self.oip.compat)
    }

    async fn unless_stopped(&self, loading: impl Future<Output = Result<()>>) -> Result<()> {
        tokio::select! {
            loaded = loading => loaded,
            () = self.stop.gently.cancelled() => Err(Error::unavailable(
                "the server is stopping and loads no models; send the request to another server",
            )),
        }
    }
}

impl Front {
    /// Gives back bytes of requests in flight.
    fn release(&self, bytes: usize) {
        self.in_flight.0.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.listeners.bytes_in_flight.sub(bytes as i64);
    }
}

/// Bytes of requests being read or served, with a ceiling.
#[derive(Default)]
pub(crate) struct Budget(AtomicUsize);

/// What a request is charged with; travels with requests over gRPC.
#[derive(Clone)]
pub(crate) struct RequestCharge(pub Arc<Charge>);

/// Bytes charged to the budget, given back on drop.
pub(crate) struct Charge<F: Deref<Target = Front> = Arc<Front>> {
    front: F,
    bytes: AtomicUsize,
}

impl<F: Deref<Target = Front>> Charge<F> {
    /// Starts with no bytes.
    pub(crate) fn new(front: F) -> Self {
        Self {
            front,
            bytes: AtomicUsize::new(0),
        }
    }

    /// Charges more bytes. Refuses bytes beyond the ceiling.
    pub(crate) fn add(&self, bytes: usize) -> Result<()> {
        let max = self.front.limits.bytes_in_flight_max;
        let before = self.front.in_flight.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.front
            .metrics
            .listeners
            .bytes_in_flight
            .add(bytes as i64);

        if before + bytes > max {
            return Err(Error::overloaded(format!(
                "{max} bytes of requests are in flight already; retry"
            )));
        }

        Ok(())
    }

    /// Charges what tensors take beyond the `bytes` of a body that are charged already. Refuses bytes beyond the
    /// ceiling.
    pub(crate) fn add_tensors(&self, tensors: &[(String, Tensor)], bytes: usize) -> Result<()> {
        let taken: usize = tensors.iter().map(|(_, tensor)| tensor.bytes()).sum();
        self.add(taken.saturating_sub(bytes))
    }

    /// Gives bytes back before the drop, at most those that are charged.
    pub(crate) fn give_back(&self, bytes: usize) {
        let less = |charged: usize| Some(charged.saturating_sub(bytes));
        let order = Ordering::Relaxed;
        let charged = self.bytes.fetch_update(order, order, less).unwrap_or(0);
        self.front.release(bytes.min(charged));
    }
}

impl<F: Deref<Target = Front>> Drop for Charge<F> {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.front.release(bytes);
    }
}
