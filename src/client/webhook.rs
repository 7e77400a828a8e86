//! Posts events to a webhook, as CloudEvents 1.0 in JSON, from a bounded queue
//! and with a few attempts. Logs events that it drops or cannot deliver; no
//! request waits for it.

use crate::core::error::{Error, Result};
use std::time::Duration;
use tokio::sync::mpsc;

/// The most events that wait; more are dropped and logged.
const EVENTS_MAX: usize = 256;
/// Time limit of one attempt.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Waits between attempts.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// The queue of a webhook; cheap to clone.
#[derive(Clone)]
pub(crate) struct Webhook(mpsc::Sender<Message>);

/// One post.
pub(crate) struct Message {
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Webhook {
    /// Starts the task that posts to `url`, on this runtime.
    pub(crate) fn start(url: &str, runtime: &tokio::runtime::Runtime) -> Result<Self> {
        let post = Post::to(url)?;
        let (events, mut inbox) = mpsc::channel::<Message>(EVENTS_MAX);
        runtime.spawn(async move {
            while let Some(event) = inbox.recv().await {
                if let Err(error) = deliver(&post, &event).await {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "an event was not delivered");
                }
            }
        });

        Ok(Self(events))
    }

    /// Queues an event of a kind, about a subject; never waits.
    pub(crate) fn send(&self, kind: &str, subject: &str, data: &impl serde::Serialize) {
        let event = serde_json::json!({
            "specversion": "1.0",
            "id": uuid::Uuid::now_v7(),
            "source": "/ortus",
            "type": kind,
            "subject": subject,
            "time": chrono::Utc::now(),
            "datacontenttype": "application/json",
            "data": data,
        });

        let headers = vec![("content-type", "application/cloudevents+json".to_owned())];
        let body = event.to_string().into_bytes();

        if !self.post(Message { headers, body }) {
            tracing::error!(
                kind,
                subject,
                "an event was dropped: {EVENTS_MAX} others wait for the webhook"
            );
        }
    }

    /// Queues a message; returns false if too many wait. Never waits.
    pub(crate) fn post(&self, message: Message) -> bool {
        self.0.try_send(message).is_ok()
    }
}

async fn deliver(post: &Post, event: &Message) -> Result<()> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let sent = tokio::time::timeout(ATTEMPT, post.send(event)).await;
        let error = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => Error::late("the webhook does not answer in time"),
        };

        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(error),
        }
    }
}

/// The address of a webhook, and a client for it.
#[cfg(feature = "cloud")]
struct Post {
    client: reqwest::Client,
    url: reqwest::Url,
}

#[cfg(feature = "cloud")]
impl Post {
    fn to(url: &str) -> Result<Self> {
        // Another part of the program may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = reqwest::Url::parse(url).ok();
        let url = url
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| Error::invalid("a webhook must be an http:// or https:// address"))?;

        let client = reqwest::Client::builder()
            .build()
            .map_err(|e| Error::internal("build the webhook's client").with_source(e))?;
        Ok(Self { client, url })
    }

    async fn send(&self, message: &Message) -> Result<()> {
        let mut request = self
            .client
            .post(self.url.clone())
            .body(message.body.clone());
        for (name, value) in &message.headers {
            request = request.header(*name, value);
        }

        let answer = request
            .send()
            .await
            .map_err(|e| Error::unavailable("post to the webhook").with_source(e.without_url()))?;

        let status = answer.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(Error::unavailable(format!("the webhook answered {status}")))
        }
    }
}

#[cfg(not(feature = "cloud"))]
struct Post;

#[cfg(not(feature = "cloud"))]
impl Post {
    fn to(_: &str) -> Result<Self> {
        Err(Error::invalid(
            "this ortus is built without the feature `cloud`, which webhooks need",
        ))
    }

    async fn send(&self, _: &Message) -> Result<()> {
        Ok(())
    }
}
