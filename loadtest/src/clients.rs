//! The clients that send load. Both write bytes that were encoded before and
//! read answers without decoding them, so that the generator costs little.

mod grpc;
mod http;

use crate::Result;
use crate::requests::{Protocol, RequestSet};
use crate::tally::Verdict;
use bytes::Bytes;
use std::rc::Rc;
use std::time::Duration;

pub(crate) use grpc::GrpcClient;
use http::HttpClient;

/// Longer answers are refused.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Keeps a closed loop from spinning on a server that is gone.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

/// A server, and what it is sent.
#[derive(Clone)]
pub(crate) struct Target {
    pub address: Rc<str>,
    pub requests: Rc<RequestSet>,
    /// Told to the server; the client itself waits as long as it takes.
    pub deadline: Option<Duration>,
}

/// What a server answered.
enum Answer {
    /// The gRPC frame or the HTTP body.
    Message(Bytes),
    Overloaded,
    Expired,
    Failed(String),
}

enum Client {
    Grpc(GrpcClient),
    Http(HttpClient),
}

/// One sender: a connection, or a share of one, and the requests it sends.
pub(crate) struct Sender {
    client: Client,
    target: Target,
}

impl Target {
    /// Connects once more.
    pub(crate) async fn connect(&self) -> Result<Sender> {
        let client = match self.requests.protocol {
            Protocol::Grpc => {
                Client::Grpc(GrpcClient::connect(&self.address, self.deadline).await?)
            }
            Protocol::Binary | Protocol::Json => {
                Client::Http(HttpClient::connect(&self.address, self.deadline).await?)
            }
        };
        Ok(Sender {
            client,
            target: self.clone(),
        })
    }
}

impl Sender {
    /// A second sender on the same connection, where the protocol has streams.
    pub(crate) fn share(&self) -> Option<Self> {
        match &self.client {
            Client::Grpc(client) => Some(Self {
                client: Client::Grpc(client.clone()),
                target: self.target.clone(),
            }),
            Client::Http(_) => None,
        }
    }

    /// Sends request number `n`, waits for its answer and judges it.
    pub(crate) async fn send(&mut self, n: u64) -> Verdict {
        let shot = self.target.requests.shot(n);
        let answer = match &mut self.client {
            Client::Grpc(client) => client.call(shot.bytes.clone()).await,
            Client::Http(client) => client.call(&shot.bytes).await,
        };
        match answer {
            Ok(Answer::Message(bytes)) => match self.target.requests.check(&shot, &bytes) {
                Ok(()) => Verdict::Right,
                Err(fault) => Verdict::Wrong(fault),
            },
            Ok(Answer::Overloaded) => Verdict::Overloaded,
            Ok(Answer::Expired) => Verdict::Expired,
            Ok(Answer::Failed(why)) => Verdict::Failed(why),
            Err(error) => {
                self.reconnect().await;
                Verdict::Failed(error.to_string())
            }
        }
    }

    /// Whatever is left on a broken connection belongs to no later request.
    pub(crate) async fn reconnect(&mut self) {
        match self.target.connect().await {
            Ok(fresh) => *self = fresh,
            Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
        }
    }

    /// Makes the connection usable after a request that was given up.
    pub(crate) async fn recover(&mut self) {
        if matches!(self.client, Client::Http(_)) {
            self.reconnect().await;
        }
    }
}

/// A deadline in the form of the header `grpc-timeout`.
fn timeout_text(deadline: Duration) -> String {
    match deadline.as_micros() {
        us if us < 100_000_000 => format!("{us}u"),
        us => format!("{}m", us / 1000),
    }
}
