//! Sends spans to a collector, as OTLP over gRPC: gathers them for a second and
//! sends them together. Logs and counts spans that the collector refuses; no
//! request waits for it.

use crate::core::error::{Error, Result};
use crate::observe::traces::{AttributeValue, Outbox, Span};
use crate::proto::opentelemetry as p;
use crate::proto::opentelemetry::trace_service_client::TraceServiceClient;
use bytes::Bytes;
use prometheus::IntCounter;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// The most spans sent at once.
const BATCH_MAX: usize = 4 << 10;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// Time limit of sending.
const SEND: Duration = Duration::from_secs(10);

/// Starts the task that sends to `http://HOST:PORT`, on this runtime.
pub(crate) fn start(
    address: &str,
    outbox: Outbox,
    dropped: IntCounter,
    runtime: &tokio::runtime::Handle,
) -> Result<()> {
    let endpoint = Some(address).filter(|a| a.starts_with("http://"));
    let endpoint = endpoint.and_then(|a| Endpoint::from_shared(a.to_owned()).ok());
    let endpoint = endpoint.ok_or_else(|| {
        Error::invalid(
            "traces.endpoint must be http://HOST:PORT; spans are sent without TLS, so use a collector on the same machine or network",
        )
    })?;

    runtime.spawn(async move {
        // Connects when the first spans are sent, and again after a loss.
        let channel = endpoint.timeout(SEND).connect_lazy();
        run(TraceServiceClient::new(channel), outbox, dropped).await;
    });

    Ok(())
}

async fn run(mut client: TraceServiceClient<Channel>, mut outbox: Outbox, dropped: IntCounter) {
    let mut is_away = false;
    let mut spans = Vec::new();
    while outbox.recv_many(&mut spans, BATCH_MAX).await > 0 {
        gather(&mut spans, &mut outbox).await;

        let count = spans.len();
        let sent = client.export(request(spans.drain(..))).await;

        if let Err(status) = &sent {
            dropped.inc_by(count as u64);
            // Logged once per outage of the collector.
            if !is_away {
                tracing::warn!(spans = count, code = ?status.code(), message = status.message(), "the collector does not accept spans");
            }
        }
        is_away = sent.is_err();
    }
}

/// Adds the spans that end within the gathering time.
async fn gather(spans: &mut Vec<Span>, outbox: &mut Outbox) {
    if spans.len() >= BATCH_MAX {
        return;
    }

    tokio::time::sleep(GATHER).await;
    while spans.len() < BATCH_MAX
        && let Ok(span) = outbox.try_recv()
    {
        spans.push(span);
    }
}

fn request(spans: impl Iterator<Item = Span>) -> p::ExportTraceServiceRequest {
    let version = env!("CARGO_PKG_VERSION");
    let resource = p::Resource {
        attributes: vec![
            attribute("service.name", AttributeValue::Text("ortus".to_owned())),
            attribute("service.version", AttributeValue::Text(version.to_owned())),
        ],
    };

    let scope = p::Scope {
        name: "ortus".to_owned(),
        version: version.to_owned(),
    };

    p::ExportTraceServiceRequest {
        resource_spans: vec![p::ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![p::ScopeSpans {
                scope: Some(scope),
                spans: spans.map(span).collect(),
            }],
        }],
    }
}

/// The kinds of spans, as OTLP numbers them.
const KIND_INTERNAL: i32 = 1;
const KIND_SERVER: i32 = 2;
/// The code of a span that failed.
const STATUS_ERROR: i32 = 2;

fn span(span: Span) -> p::Span {
    let attributes = span.attributes.into_iter();

    p::Span {
        trace_id: span.trace.to_be_bytes().to_vec().into(),
        span_id: span.id.to_be_bytes().to_vec().into(),
        parent_span_id: parent_id(span.parent),
        name: span.name.to_owned(),
        kind: match span.is_server {
            true => KIND_SERVER,
            false => KIND_INTERNAL,
        },
        start_time_unix_nano: span.start_ns,
        end_time_unix_nano: span.end_ns,
        attributes: attributes.map(|kv| attribute(kv.0, kv.1)).collect(),
        status: span.error.map(failed),
    }
}

/// The first span of a trace has no parent.
fn parent_id(parent: u64) -> Bytes {
    match parent {
        0 => Bytes::new(),
        id => id.to_be_bytes().to_vec().into(),
    }
}

fn failed(reason: &'static str) -> p::Status {
    p::Status {
        message: reason.to_owned(),
        code: STATUS_ERROR,
    }
}

fn attribute(key: &str, value: AttributeValue) -> p::KeyValue {
    let value = match value {
        AttributeValue::Text(text) => p::any_value::Value::StringValue(text),
        AttributeValue::Whole(n) => p::any_value::Value::IntValue(n),
    };
    p::KeyValue {
        key: key.to_owned(),
        value: Some(p::AnyValue { value: Some(value) }),
    }
}
