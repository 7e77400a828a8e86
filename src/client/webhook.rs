//! Events to a webhook, as CloudEvents 1.0 in JSON: a bounded queue, a few
//! attempts, and what is not taken is told in the log. Nobody waits for it.

use crate::core::error::{Error, Result};
use std::time::Duration;
use tokio::sync::mpsc;

/// Events waiting; what comes beyond is dropped and told.
const EVENTS_MAX: usize = 256;
/// How long an attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Waits between attempts.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// The way to a webhook.
#[derive(Clone)]
pub(crate) struct Webhook(mpsc::Sender<Message>);

/// What is posted.
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

    /// Sends an event: what it is, what it is about, and its data; never waits.
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
        if !self.post(Message {
            headers,
            body: event.to_string().into_bytes(),
        }) {
            tracing::error!(
                kind,
                subject,
                "an event was dropped: the webhook is slower than they come"
            );
        }
    }

    /// Posts a message as it is, or tells that too many are waiting; never waits.
    pub(crate) fn post(&self, message: Message) -> bool {
        self.0.try_send(message).is_ok()
    }
}

async fn deliver(post: &Post, event: &Message) -> Result<()> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let sent = tokio::time::timeout(ATTEMPT, post.send(event)).await;
        let error = match sent
            .unwrap_or_else(|_| Err(Error::late("the webhook does not answer in time")))
        {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(error),
        }
    }
}

/// An address that takes events.
#[cfg(feature = "cloud")]
struct Post {
    client: reqwest::Client,
    url: reqwest::Url,
}

#[cfg(feature = "cloud")]
impl Post {
    fn to(url: &str) -> Result<Self> {
        // Two parts of the program may be the first to need it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let legal = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https");
        let url = reqwest::Url::parse(url).ok().filter(legal);
        let url =
            url.ok_or_else(|| Error::invalid("the webhook is no http:// or https:// address"))?;
        let client = reqwest::Client::builder().build();
        Ok(Self {
            client: client
                .map_err(|e| Error::internal("build the webhook's client").with_source(e))?,
            url,
        })
    }

    async fn send(&self, message: &Message) -> Result<()> {
        let request = self
            .client
            .post(self.url.clone())
            .body(message.body.clone());
        let request = message
            .headers
            .iter()
            .fold(request, |request, (name, value)| {
                request.header(*name, value)
            });
        let answer = request.send().await;
        let answer = answer
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
