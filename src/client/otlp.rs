//! Spans to a collector, over gRPC as OTLP: gathered for a second, sent
//! together, and what is not taken is told in the log. Nobody waits for it.

use crate::core::error::{Error, Result};
use crate::observe::traces::{Outbox, Span, Value};
use crate::proto::opentelemetry as p;
use crate::proto::opentelemetry::trace_service_client::TraceServiceClient;
use prometheus::IntCounter;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Spans sent at once.
const BATCH_MAX: usize = 4 << 10;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// How long sending may take.
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
        Error::invalid("traces.endpoint is no http://HOST:PORT; a collector beside the server takes it without TLS")
    })?;
    runtime.spawn(async move {
        // Connects when it first has something to send, and again when it must.
        let channel = endpoint.timeout(SEND).connect_lazy();
        run(TraceServiceClient::new(channel), outbox, dropped).await;
    });
    Ok(())
}

async fn run(mut client: TraceServiceClient<Channel>, mut outbox: Outbox, dropped: IntCounter) {
    let mut is_told = false;
    let mut spans = Vec::new();
    while outbox.recv_many(&mut spans, BATCH_MAX).await > 0 {
        if spans.len() < BATCH_MAX {
            tokio::time::sleep(GATHER).await;
            while spans.len() < BATCH_MAX
                && let Ok(span) = outbox.try_recv()
            {
                spans.push(span);
            }
        }
        let count = spans.len();
        match client.export(request(spans.drain(..))).await {
            Ok(_) => is_told = false,
            // A collector that is away is told of once.
            Err(_) if is_told => dropped.inc_by(count as u64),
            Err(status) => {
                dropped.inc_by(count as u64);
                is_told = true;
                tracing::warn!(spans = count, code = ?status.code(), message = status.message(), "spans are not taken");
            }
        }
    }
}

fn request(spans: impl Iterator<Item = Span>) -> p::ExportTraceServiceRequest {
    let text = |key: &str, value: &str| p::KeyValue {
        key: key.to_owned(),
        value: Some(p::AnyValue {
            value: Some(p::any_value::Value::StringValue(value.to_owned())),
        }),
    };
    let version = env!("CARGO_PKG_VERSION");
    let scope = p::Scope {
        name: "ortus".to_owned(),
        version: version.to_owned(),
    };
    p::ExportTraceServiceRequest {
        resource_spans: vec![p::ResourceSpans {
            resource: Some(p::Resource {
                attributes: vec![
                    text("service.name", "ortus"),
                    text("service.version", version),
                ],
            }),
            scope_spans: vec![p::ScopeSpans {
                scope: Some(scope),
                spans: spans.map(span).collect(),
            }],
        }],
    }
}

fn span(span: Span) -> p::Span {
    let attribute = |(key, value): (&str, Value)| p::KeyValue {
        key: key.to_owned(),
        value: Some(p::AnyValue {
            value: Some(match value {
                Value::Text(text) => p::any_value::Value::StringValue(text),
                Value::Whole(n) => p::any_value::Value::IntValue(n),
            }),
        }),
    };
    let status = span.error.map(|why| p::Status {
        message: why.to_owned(),
        code: 2,
    });
    p::Span {
        trace_id: span.trace.to_be_bytes().to_vec().into(),
        span_id: span.id.to_be_bytes().to_vec().into(),
        parent_span_id: if span.parent == 0 {
            Default::default()
        } else {
            span.parent.to_be_bytes().to_vec().into()
        },
        name: span.name.to_owned(),
        kind: if span.is_server { 2 } else { 1 },
        start_time_unix_nano: span.start_ns,
        end_time_unix_nano: span.end_ns,
        attributes: span.attributes.into_iter().map(attribute).collect(),
        status,
    }
}
