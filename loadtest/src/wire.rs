//! Connections to a server under test: gRPC, and HTTP/1.1 with JSON. Sends one
//! fixed request over and over and judges each answer.

use crate::Result;
use crate::golden::Golden;
use crate::tally::Verdict;
use ortus::proto::inference as p;
use p::grpc_inference_service_client::GrpcInferenceServiceClient;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Keeps a closed loop from spinning on a server that is gone.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

/// A server, and the request it gets.
pub(crate) enum Target {
    Grpc {
        address: String,
        request: p::ModelInferRequest,
    },
    Http {
        address: String,
        model: String,
        body: String,
    },
}

/// One open connection with its request.
pub(crate) enum Connection {
    Grpc {
        client: GrpcInferenceServiceClient<Channel>,
        request: Box<p::ModelInferRequest>,
    },
    Http {
        stream: BufReader<TcpStream>,
        address: String,
        request: Vec<u8>,
    },
}

impl Target {
    /// Connects once more.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        match self {
            Self::Grpc { address, request } => {
                let channel = Endpoint::from_shared(format!("http://{address}"))?
                    .tcp_nodelay(true)
                    .connect()
                    .await?;
                let client = GrpcInferenceServiceClient::new(channel)
                    .max_decoding_message_size(ANSWER_BYTES_MAX);
                Ok(Connection::Grpc {
                    client,
                    request: Box::new(request.clone()),
                })
            }
            Self::Http {
                address,
                model,
                body,
            } => {
                let stream = open(address).await?;
                let head = format!("POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {address}\r\n");
                let kind = format!(
                    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let (address, request) = (address.clone(), (head + &kind + body).into_bytes());
                Ok(Connection::Http {
                    stream,
                    address,
                    request,
                })
            }
        }
    }
}

impl Connection {
    /// A second sender on the same connection, where the protocol has streams.
    pub(crate) fn share(&self) -> Option<Self> {
        match self {
            Self::Grpc { client, request } => Some(Self::Grpc {
                client: client.clone(),
                request: request.clone(),
            }),
            Self::Http { .. } => None,
        }
    }

    /// Sends the request, waits for its answer and judges it.
    pub(crate) async fn send(&mut self, golden: Option<&Golden>) -> Verdict {
        let judged = match self {
            Self::Grpc { client, request } => match client
                .model_infer(p::ModelInferRequest::clone(request))
                .await
            {
                Ok(answer) => golden.map_or(Ok(()), |g| g.check_grpc(answer.get_ref())),
                Err(status) => {
                    return Verdict::Failed(format!("{:?}: {}", status.code(), status.message()));
                }
            },
            Self::Http {
                stream,
                address,
                request,
            } => match exchange(stream, request).await {
                Ok((200, body)) => golden.map_or(Ok(()), |g| g.check_json(&body)),
                Ok((status, body)) => {
                    return Verdict::Failed(format!(
                        "{status}: {}",
                        String::from_utf8_lossy(&body)
                    ));
                }
                Err(error) => {
                    // Whatever is left on a broken connection belongs to no later request.
                    match open(address).await {
                        Ok(fresh) => *stream = fresh,
                        Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
                    }
                    return Verdict::Failed(error.to_string());
                }
            },
        };
        judged.map_or_else(Verdict::Wrong, |()| Verdict::Right)
    }
}

async fn open(address: &str) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

async fn exchange(stream: &mut BufReader<TcpStream>, request: &[u8]) -> Result<(u16, Vec<u8>)> {
    stream.get_mut().write_all(request).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let status = line
        .split(' ')
        .nth(1)
        .ok_or("the server closed the connection")?
        .parse()?;
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = Some(value.trim().parse()?)
            }
            Some(_) => {}
            None => break,
        }
    }
    let length: usize = length.ok_or("the answer has no length")?;
    if length > ANSWER_BYTES_MAX {
        return Err("the answer is too long".into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((status, body))
}
