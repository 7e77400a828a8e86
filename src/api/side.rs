//! Listeners that are not on the data path: ops and operator, on the background
//! runtime. Knows nothing of what they answer.

use super::stop::Stop;
use super::{Front, connection};
use crate::core::error::{Error, Result};
use http::{Request, Response};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::body::Body;

/// Starts such a listener; returns its bound address.
pub(crate) async fn side<F>(
    address: SocketAddr,
    what: &str,
    front: &Arc<Front>,
    answer: fn(Arc<Front>, Request<Incoming>) -> F,
) -> Result<SocketAddr>
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind(address)
        .await
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (bound, listener) = listener.map_err(|e| {
        Error::precondition(format!("the {what} listener cannot bind {address}: {e}"))
    })?;

    let front = Arc::clone(front);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let limits = front.limits.clone();
            let front = Arc::clone(&front);
            let answer = move |request| answer(Arc::clone(&front), request);
            tokio::spawn(connection::serve(stream, answer, limits, Stop::default()));
        }
    });

    Ok(bound)
}
