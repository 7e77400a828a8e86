//! Listeners beside the data path, on the background runtime: ops and operator.

use super::{Front, connection};
use crate::error::{Error, Result};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::body::Body;

/// How long the headers of a request to such a listener may take.
const HEADER_MAX: Duration = Duration::from_secs(10);

/// Starts a listener beside the data path; returns where it is bound.
pub(crate) async fn side<F>(
    address: SocketAddr,
    what: &str,
    front: &Arc<Front>,
    answer: fn(Arc<Front>, Request<Incoming>) -> F,
) -> Result<SocketAddr>
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let unbound = |e: std::io::Error| Error::precondition(format!("the {what} listener cannot bind {address}: {e}"));
    let listener = TcpListener::bind(address).await.map_err(unbound)?;
    let bound = listener.local_addr().map_err(unbound)?;
    let front = Arc::clone(front);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let mut server = connection::builder(&front.limits);
            server.http1().header_read_timeout(HEADER_MAX);
            let front = Arc::clone(&front);
            let service = hyper::service::service_fn(move |request| {
                let response = answer(Arc::clone(&front), request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    Ok(bound)
}
