//! The request and response headers of the data listeners, and what they mean:
//! the trace, the routing key and the deadline of a request.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::request::Deadline;
use crate::core::request::trace::Context;
use crate::explain::request::TOP_MAX;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::{Duration, Instant};

/// The request header with the caller's trace.
const TRACE_HEADER: &str = "traceparent";
/// The request header with a timeout, in gRPC.
const GRPC_TIMEOUT_HEADER: &str = "grpc-timeout";
/// The response header with the span of the prediction.
pub(crate) const TRACED_HEADER: HeaderName = HeaderName::from_static("traceresponse");
/// The response header with the version that served.
pub(crate) const VERSION_HEADER: HeaderName = HeaderName::from_static("ortus-model-version");
/// The response header with the digest of the version's files: two revisions of one version differ
/// in it.
pub(crate) const DIGEST_HEADER: HeaderName = HeaderName::from_static("ortus-model-digest");
/// The response header with the prediction id.
pub(crate) const PREDICTION_HEADER: HeaderName = HeaderName::from_static("ortus-prediction-id");
/// The request header with a timeout, in any protocol.
const TIMEOUT_HEADER: &str = "ortus-timeout-ms";
/// The digits of the longest timeout.
const TIMEOUT_DIGITS_MAX: usize = 12;
/// The request header whose value decides where split traffic goes.
const ROUTE_KEY_HEADER: &str = "ortus-route-key";

/// The request header that asks for the largest contributions of inputs to the scores.
pub(crate) const EXPLAIN_HEADER: &str = "ortus-explain";

/// The headers of a request that change how it is served. They are found in one pass.
#[derive(Clone, Copy, Default)]
pub(crate) struct RequestHeaders<'h> {
    trace: Option<&'h HeaderValue>,
    route_key: Option<&'h HeaderValue>,
    grpc_timeout: Option<&'h HeaderValue>,
    timeout_ms: Option<&'h HeaderValue>,
    explain: Option<&'h HeaderValue>,
}

impl<'h> RequestHeaders<'h> {
    /// Finds them. Of a header that is sent twice, the first counts.
    pub(crate) fn read(headers: &'h HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            let place = match name.as_str() {
                TRACE_HEADER => &mut found.trace,
                ROUTE_KEY_HEADER => &mut found.route_key,
                GRPC_TIMEOUT_HEADER => &mut found.grpc_timeout,
                TIMEOUT_HEADER => &mut found.timeout_ms,
                EXPLAIN_HEADER => &mut found.explain,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        found
    }

    /// Reads the trace that a request is part of.
    pub(crate) fn trace(&self) -> Option<Context> {
        Context::parse(self.trace?.to_str().ok()?)
    }

    /// Reads the routing key of a traffic split; empty if there is none.
    pub(crate) fn route_key(&self) -> &'h [u8] {
        self.route_key.map_or(&[], HeaderValue::as_bytes)
    }

    /// Reads how many contributions of each score are asked for; none if the prediction is not to be explained.
    pub(crate) fn explain(&self) -> Result<Option<usize>> {
        let Some(value) = self.explain else {
            return Ok(None);
        };
        let digits = value
            .to_str()
            .ok()
            .filter(|text| text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit()));
        let top = digits.and_then(|text| text.parse().ok());
        match top.filter(|top| (1..=TOP_MAX).contains(top)) {
            Some(top) => Ok(Some(top)),
            None => Err(Error::invalid(format!(
                "{EXPLAIN_HEADER} must be an integer of 1 to {TOP_MAX}: how many contributions are wanted"
            ))),
        }
    }

    /// Reads the deadline of a request: `grpc-timeout`, else `ortus-timeout-ms`.
    pub(crate) fn deadline(&self, arrived: Instant) -> Result<Option<Deadline>> {
        if let Some(value) = self.grpc_timeout {
            let timeout = value.to_str().ok().and_then(grpc_timeout).ok_or_else(|| {
                Error::invalid("grpc-timeout must be 1 to 8 digits and a unit (H, M, S, m, u or n)")
            })?;
            return Ok(Some(Deadline::after(arrived, timeout)));
        }

        if let Some(value) = self.timeout_ms {
            let timeout = value.to_str().ok().and_then(milliseconds).ok_or_else(|| {
                Error::invalid(format!(
                    "{TIMEOUT_HEADER} must be a positive integer of at most {TIMEOUT_DIGITS_MAX} digits"
                ))
            })?;
            return Ok(Some(Deadline::after(arrived, timeout)));
        }

        Ok(None)
    }
}

/// Returns the earlier of a header's deadline and the `timeout` parameter's.
pub(crate) fn earlier(
    of_header: Option<Deadline>,
    timeout_us: Option<u64>,
    arrived: Instant,
) -> Option<Deadline> {
    let of_body = timeout_us.map(|us| Deadline::after(arrived, Duration::from_micros(us)));
    of_header.into_iter().chain(of_body).min()
}

fn milliseconds(value: &str) -> Option<Duration> {
    if value.len() > TIMEOUT_DIGITS_MAX || !value.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }

    let ms = value.parse().ok().filter(|ms| *ms > 0)?;
    Some(Duration::from_millis(ms))
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
