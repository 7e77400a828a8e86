//! The locks, atomic numbers and threads of the hand-over between requests and lanes: those of
//! `parking_lot` and the standard library. In tests a scheduler can take their place that tries
//! many orders of what threads do; the server is compiled without it.

use std::io;

#[cfg(test)]
pub(super) use super::tests::orders::sync::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Condvar, Mutex,
};
#[cfg(not(test))]
pub(super) use parking_lot::{Condvar, Mutex};
#[cfg(not(test))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

/// Starts a thread.
#[cfg(not(test))]
pub(super) fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = std::thread::Builder::new().name(name);
    builder.spawn(run).map(drop)
}

#[cfg(test)]
pub(super) fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    super::tests::orders::sync::spawn(name, run)
}
