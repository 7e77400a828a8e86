//! Receives alarms as a webhook: CloudEvents in JSON, as servers post them. An alarm
//! about a watched model is stored like one of the server's own; the next check
//! reads it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ortus::core::error::{Error, Kind, Result};
use ortus::observe::alarms::{self, LoggedAlarm};
use ortus::observe::report::alarm::{AlarmEvent, DRIFT_KIND, PERFORMANCE_KIND};
use ortus::observe::report::incident::IncidentPhase;
use ortus::storage::layout::Records;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// The largest event.
const BYTES_MAX: usize = 64 << 10;
/// The most connections at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// The time limit of a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// The accepted event types.
fn kinds() -> [&'static str; 5] {
    [
        IncidentPhase::Opened.kind(),
        IncidentPhase::Updated.kind(),
        IncidentPhase::Closed.kind(),
        PERFORMANCE_KIND,
        DRIFT_KIND,
    ]
}

/// A received event.
#[derive(Deserialize)]
struct ReceivedEvent {
    specversion: String,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    time: Option<DateTime<Utc>>,
    data: AlarmEvent,
}

/// The destination of events.
struct Inbox {
    records: Records,
    models: BTreeSet<String>,
    alarmed: crossbeam_channel::Sender<()>,
}

/// Starts to listen on its own thread; returns the address. `alarmed` is
/// notified of every new alarm.
pub(crate) fn start(
    address: SocketAddr,
    records: Records,
    models: BTreeSet<String>,
    alarmed: crossbeam_channel::Sender<()>,
) -> Result<SocketAddr> {
    let failed =
        |e: std::io::Error| Error::precondition(format!("cannot listen on {address}: {e}"));
    let socket = std::net::TcpListener::bind(address).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    // Connections of the training thread are not polled during a fit.
    let inbox = Arc::new(Inbox {
        records: records.reopen()?,
        models,
        alarmed,
    });

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    std::thread::spawn(move || runtime.block_on(accept(socket, inbox)));

    Ok(bound)
}

async fn accept(socket: std::net::TcpListener, inbox: Arc<Inbox>) {
    let Ok(listener) = TcpListener::from_std(socket) else {
        return;
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let inbox = inbox.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let inbox = inbox.clone();
                async move { Ok::<_, std::convert::Infallible>(answer(&inbox, request).await) }
            });
            let mut server = http1::Builder::new();
            server
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE);
            let served = server.serve_connection(TokioIo::new(stream), service);
            // A client that disconnects or is too slow is dropped.
            let _ = tokio::time::timeout(PATIENCE, served).await;
            drop(place);
        });
    }
}

async fn answer(inbox: &Inbox, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match take(inbox, request).await {
        Ok(()) => (StatusCode::ACCEPTED, String::new()),
        Err(error) => {
            let status = match error.kind {
                Kind::InvalidArgument => StatusCode::BAD_REQUEST,
                Kind::NotFound => StatusCode::NOT_FOUND,
                Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                Kind::Unimplemented => StatusCode::METHOD_NOT_ALLOWED,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            (
                status,
                serde_json::json!({"error": error.message}).to_string(),
            )
        }
    };

    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

async fn take(inbox: &Inbox, request: Request<Incoming>) -> Result<()> {
    if request.method() != Method::POST {
        return Err(Error::new(Kind::Unimplemented, "only POST is accepted"));
    }
    let body = Limited::new(request.into_body(), BYTES_MAX).collect().await;
    let body = body.map_err(|e| match e.is::<http_body_util::LengthLimitError>() {
        true => Error::too_large(format!("an event is at most {BYTES_MAX} bytes")),
        false => Error::invalid("the body of the event is incomplete"),
    })?;
    let event: ReceivedEvent = serde_json::from_slice(&body.to_bytes()).map_err(|e| {
        Error::invalid(format!(
            "the body must be a CloudEvent in structured JSON: {e}"
        ))
    })?;

    if !event.specversion.starts_with("1.") || !kinds().contains(&event.kind.as_str()) {
        return Err(Error::invalid(format!(
            "'type' must be one of {}, and 'specversion' 1.0",
            kinds().join(", ")
        )));
    }

    let model = event.data.model().unwrap_or_default().to_owned();
    if !inbox.models.contains(&model) {
        return Err(Error::not_found(format!(
            "'{}' is not watched by this trainer",
            ortus::core::error::short(&model)
        )));
    }

    let time = event.time.unwrap_or_else(Utc::now);
    let kept = LoggedAlarm {
        format: alarms::FORMAT,
        kind: event.kind,
        model,
        time,
        server: "webhook".to_owned(),
        alarm: event.data,
    };

    alarms::keep(&inbox.records, &kept, &event.id).await?;
    // Full: a check is pending already.
    let _ = inbox.alarmed.try_send(());
    Ok(())
}
