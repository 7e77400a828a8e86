//! The front ends: listeners, limits, and the way from a path to a protocol.
//! With proto.rs and client.rs the only rooms that name hyper or tonic.

pub(crate) mod body;
mod connection;
mod feedback;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod memory;
pub(crate) mod oip;
pub(crate) mod operator;
pub(crate) mod ops;
mod rest;
pub(crate) mod serve;
pub(crate) mod side;
pub(crate) mod status;
pub(crate) mod tfs;

use crate::core::error::{Error, Result};
use crate::core::request::Deadline;
use crate::core::request::trace::Context;
use crate::observe::drift::observer::Monitor;
use crate::observe::labels::Feedback;
use crate::observe::metrics::Metrics;
use crate::serve::manager::Manager;
use crate::serve::predict::Predictor;
use http::HeaderMap;
use limits::Limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What every front end holds.
pub(crate) struct Front {
    pub predictor: Arc<Predictor>,
    pub manager: Manager,
    pub metrics: Arc<Metrics>,
    pub limits: Limits,
    /// The effective configuration as JSON, for the operator listener.
    pub config: String,
    /// The address and namespace of the registry that is followed, if one is.
    pub registry: Option<(String, String)>,
    /// Watches what is served, where it is on.
    pub monitor: Option<Arc<Monitor>>,
    /// Takes labels, where that is on.
    pub feedback: Option<Arc<Feedback>>,
    pub in_flight: Budget,
}

/// Bytes of requests being read or served, with a ceiling.
#[derive(Default)]
pub(crate) struct Budget(AtomicUsize);

/// Bytes charged to the budget, given back on drop.
pub(crate) struct Charge {
    front: Arc<Front>,
    bytes: AtomicUsize,
}

impl Charge {
    /// Starts at nothing.
    pub(crate) fn new(front: &Arc<Front>) -> Arc<Self> {
        Arc::new(Self {
            front: Arc::clone(front),
            bytes: AtomicUsize::new(0),
        })
    }

    /// Charges more. Refuses what the ceiling does not hold.
    pub(crate) fn add(&self, bytes: usize) -> Result<()> {
        let max = self.front.limits.bytes_in_flight_max;
        let before = self.front.in_flight.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.front.metrics.bytes_in_flight.add(bytes as i64);
        if before + bytes > max {
            return Err(Error::overloaded(format!(
                "{max} bytes of requests are in flight already; retry"
            )));
        }
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.front.in_flight.0.fetch_sub(bytes, Ordering::Relaxed);
        self.front.metrics.bytes_in_flight.sub(bytes as i64);
    }
}

/// The header by which a caller says which trace a request is of.
pub(crate) const TRACE_HEADER: &str = "traceparent";
/// The header that names the span that followed it.
pub(crate) const TRACED_HEADER: &str = "traceresponse";

/// The trace that a request is of.
pub(crate) fn context(headers: &HeaderMap) -> Option<Context> {
    Context::parse(headers.get(TRACE_HEADER)?.to_str().ok()?)
}

/// The header that names the version that served.
pub(crate) const VERSION_HEADER: &str = "ortus-model-version";
/// The header with the id this server gave the prediction.
pub(crate) const PREDICTION_HEADER: &str = "ortus-prediction-id";
/// The header by which a client of any protocol sets a timeout.
pub(crate) const TIMEOUT_HEADER: &str = "ortus-timeout-ms";

/// The header whose value decides where split traffic goes.
pub(crate) const ROUTE_KEY_HEADER: &str = "ortus-route-key";

/// The key by which split traffic is routed; empty where there is none.
pub(crate) fn route_key(headers: &HeaderMap) -> &[u8] {
    headers
        .get(ROUTE_KEY_HEADER)
        .map_or(&[], http::HeaderValue::as_bytes)
}

/// Reads the deadline of a request: `grpc-timeout`, else `ortus-timeout-ms`.
pub(crate) fn deadline(headers: &HeaderMap, arrived: Instant) -> Result<Option<Deadline>> {
    if let Some(value) = headers.get("grpc-timeout") {
        let timeout = value.to_str().ok().and_then(grpc_timeout);
        let timeout = timeout.ok_or_else(|| {
            Error::invalid("grpc-timeout is not 1 to 8 digits and a unit of H M S m u n")
        })?;
        return Ok(Some(Deadline::after(arrived, timeout)));
    }
    if let Some(value) = headers.get(TIMEOUT_HEADER) {
        let digits = value
            .to_str()
            .ok()
            .filter(|v| v.len() <= 12 && v.bytes().all(|b| b.is_ascii_digit()));
        let ms = digits.and_then(|v| v.parse().ok()).filter(|ms| *ms > 0);
        let ms = ms.ok_or_else(|| {
            Error::invalid(format!("{TIMEOUT_HEADER} is not a positive whole number"))
        })?;
        return Ok(Some(Deadline::after(arrived, Duration::from_millis(ms))));
    }
    Ok(None)
}

/// The earlier of a header's deadline and the `timeout` parameter's.
pub(crate) fn earlier(
    asked: Option<Deadline>,
    timeout_us: Option<u64>,
    arrived: Instant,
) -> Option<Deadline> {
    let own = timeout_us.map(|us| Deadline::after(arrived, Duration::from_micros(us)));
    asked.into_iter().chain(own).min()
}

fn grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &'static str, value: &'static str, expected: Option<u128>) {
        let mut headers = HeaderMap::new();
        headers.insert(header, http::HeaderValue::from_static(value));
        let now = Instant::now();
        let got = deadline(&headers, now).map(|d| d.map(|d| (d.0 - now).as_nanos()));
        assert_eq!(got.ok().flatten(), expected, "{header}: {value}");
    }

    #[test]
    fn timeouts_are_read_in_every_unit_and_the_malformed_are_refused() {
        check("grpc-timeout", "1S", Some(1_000_000_000));
        check("grpc-timeout", "20m", Some(20_000_000));
        check("grpc-timeout", "300000u", Some(300_000_000));
        check("grpc-timeout", "7n", Some(7));
        check("grpc-timeout", "1M", Some(60_000_000_000));
        check("grpc-timeout", "99999999H", Some(24 * 3600 * 1_000_000_000));
        for bad in ["", "S", "-1S", "1", "1s", "123456789S", "1.5S", " 1S"] {
            check("grpc-timeout", bad, None);
        }
        check(TIMEOUT_HEADER, "250", Some(250_000_000));
        for bad in ["0", "-1", "x", "", "9999999999999"] {
            check(TIMEOUT_HEADER, bad, None);
        }
        assert!(deadline(&HeaderMap::new(), Instant::now()).is_ok_and(|d| d.is_none()));
    }
}
