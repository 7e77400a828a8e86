//! Listeners that are not on the data path: ops and operator, on the background
//! runtime. Knows nothing of what they answer.

use super::connection::{Answer, Handlers};
use super::listen::unbound;
use super::request_body::RequestBody;
use super::stop::Stop;
use super::{Front, connection};
use crate::core::error::Result;
use http::{Request, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::body::Body;

/// A side port, bound. Connections wait until [`SidePort::start`] accepts them.
pub(crate) struct SidePort {
    /// The bound address.
    pub address: SocketAddr,
    listener: TcpListener,
}

/// Binds such a port. Must be called in a runtime.
pub(crate) async fn bind(address: SocketAddr, what: &str) -> Result<SidePort> {
    let bound = TcpListener::bind(address)
        .await
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|e| unbound(what, address, &e))?;

    Ok(SidePort { address, listener })
}

impl SidePort {
    /// Answers on the port from now on, on the runtime `background`.
    pub(crate) fn start<F>(
        self,
        front: &Arc<Front>,
        background: &Runtime,
        answer: fn(Arc<Front>, Request<RequestBody>) -> F,
    ) where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        background.spawn(accept(self.listener, Arc::clone(front), answer));
    }
}

async fn accept<F>(
    listener: TcpListener,
    front: Arc<Front>,
    answer: fn(Arc<Front>, Request<RequestBody>) -> F,
) where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let limits = front.limits.clone();
        let front = Arc::clone(&front);
        let answer: Answer = Arc::new(move |request| Box::pin(answer(Arc::clone(&front), request)));
        tokio::spawn(connection::serve(
            stream,
            Handlers::without_calls(answer),
            limits,
            Stop::default(),
            None,
        ));
    }
}
