//! The floor of the wire for HTTP/1.1: `hyper` itself, which answers each request
//! with the body that it got.

use crate::Result;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Serves on `address` until the process ends; prints `ready: ADDR:PORT` once.
pub(crate) fn serve(address: &str, threads: usize) -> Result<()> {
    super::spread(address, threads, spawn)
}

pub(super) fn spawn(stream: TcpStream) {
    tokio::spawn(connection(stream));
}

async fn connection(stream: TcpStream) {
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    // A client that went away has no use for an answer.
    let _ = serving.await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(body)))
}
