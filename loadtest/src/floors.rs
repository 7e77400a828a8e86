//! The least that a server could cost: the wire alone, and the model alone.

pub(crate) mod h2_echo;
pub(crate) mod http_echo;
pub(crate) mod raw;
pub(crate) mod tonic_echo;

use crate::Result;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long an accept loop rests after a failure, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Accepts connections on `address` and gives them in turn to `threads` threads,
/// each with a runtime of its own, as Ortus does. Prints `ready: ADDR:PORT` once.
fn spread(address: &str, threads: usize, serve: fn(tokio::net::TcpStream)) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("ready: {}", listener.local_addr()?);
    accept(&listener, threads, serve)
}

fn accept(listener: &TcpListener, threads: usize, serve: fn(tokio::net::TcpStream)) -> Result<()> {
    let mut workers = Vec::new();
    for _ in 0..threads.max(1) {
        let (give, take) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || runtime.block_on(work(take, serve)));
        workers.push(give);
    }
    for turn in 0.. {
        match listener.accept() {
            Ok((stream, _)) => drop(workers[turn % workers.len()].send(stream)),
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
    }
    Ok(())
}

async fn work(mut streams: UnboundedReceiver<TcpStream>, serve: fn(tokio::net::TcpStream)) {
    while let Some(stream) = streams.recv().await {
        let is_ready = stream.set_nonblocking(true).and(stream.set_nodelay(true));
        if let (Ok(()), Ok(stream)) = (is_ready, tokio::net::TcpStream::from_std(stream)) {
            serve(stream);
        }
    }
}

#[cfg(test)]
mod tests;
