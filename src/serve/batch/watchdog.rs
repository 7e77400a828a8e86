//! Watches the runs of every servable from one thread of the process. Terminates
//! runs that pass their limit, and replaces lanes that hang.
//!
//! A hung lane keeps its thread, its session and its memory until its run ends,
//! so the number of replacements is limited: beyond [`REPLACEMENTS_MAX`] the
//! servable is unavailable until a hung run ends.

use super::hung::Hung;
use super::lane::{self, Slot};
use super::sync;
use super::watch::{Finding, HANG_GRACE, RUN_GRACE};
use super::{Batcher, BatcherShared};
use crate::core::error::{Error, Result};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Most lanes of one servable that are hung and replaced at a time.
pub(crate) const REPLACEMENTS_MAX: usize = 4;

/// Interval at which runs are checked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

type WatchedBatchers = Arc<Mutex<Vec<Weak<BatcherShared>>>>;

/// The handle to the watchdog's thread. Dropping it ends the thread.
pub(crate) struct Watchdog {
    watched: WatchedBatchers,
    _end: Sender<Infallible>,
}

impl Watchdog {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Self> {
        let watched = WatchedBatchers::default();
        let (end, ended) = channel();
        let seen = Arc::clone(&watched);
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&seen, &ended))
            .map_err(|e| Error::internal("start the watchdog").with_source(e))?;

        Ok(Self { watched, _end: end })
    }

    /// Watches a batcher until it and its lanes have ended.
    pub(crate) fn watch(&self, batcher: &Batcher) {
        self.watched.lock().push(Arc::downgrade(&batcher.shared));
    }
}

fn watch(watched: &WatchedBatchers, ended: &Receiver<Infallible>) {
    while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        // Locked for a moment only: checking does not wait for a run.
        watched.lock().retain(|batcher| {
            let batcher = batcher.upgrade();
            batcher
                .inspect(|shared| check_servable(shared, now))
                .is_some()
        });
    }
}

/// Checks every run of one servable.
pub(super) fn check_servable(shared: &Arc<BatcherShared>, now: Instant) {
    for (at, slot) in shared.slots.load().iter().enumerate() {
        // Locked first, so that a run that ends now is counted afterwards.
        let mut hung = shared.hung.lock();
        match slot.watch.check(now) {
            Finding::Nothing => {}
            Finding::Terminated => {
                shared.metrics.runs_terminated.inc();
                tracing::warn!(
                    servable = shared.name,
                    grace_s = RUN_GRACE.as_secs(),
                    on_io_thread = slot.watch.is_in_place(),
                    "run terminated: nobody waits for it any more, or it held up an I/O thread"
                );
            }
            Finding::Hung => {
                hung.count += 1;
                shared.metrics.lanes_hung.inc();
                replace(shared, at, slot, &mut hung);
            }
        }
    }
}

/// Starts a new lane for a hung one, up to the limit.
fn replace(shared: &Arc<BatcherShared>, at: usize, slot: &Arc<Slot>, hung: &mut Hung) {
    let is_in_place = slot.watch.is_in_place();
    if is_in_place {
        // An I/O thread serves other clients too: runs in place end for good.
        shared.end_in_place();
    }

    let is_replaced = hung.count <= REPLACEMENTS_MAX;
    tracing::error!(
        servable = shared.name,
        on_io_thread = is_in_place,
        hung = hung.count,
        replacements_max = REPLACEMENTS_MAX,
        grace_s = HANG_GRACE.as_secs(),
        "lane hangs: its run did not end within the grace period after it was terminated; {}",
        if is_replaced {
            "a new lane replaces it"
        } else {
            "the limit of replacements is reached, the version is unavailable until a run ends"
        }
    );

    if !is_replaced {
        give_up(shared, slot, hung);
        return;
    }

    let (new_shared, new_slot) = (Arc::clone(shared), Arc::clone(slot));
    let name = format!("lane {}", shared.name);
    let started = sync::spawn(name, move || serve_instead(&new_shared, at, &new_slot));
    if let Err(error) = started {
        tracing::error!(servable = shared.name, %error, "the thread of a new lane cannot start");
        give_up(shared, slot, hung);
    }
}

/// Opens a new session for the slot of a hung lane, and serves it.
fn serve_instead(shared: &Arc<BatcherShared>, at: usize, slot: &Arc<Slot>) {
    let opened = (shared.reopen)();

    let mut hung = shared.hung.lock();
    if !slot.watch.is_hung() {
        // The run ended while the session was opened: its lane goes on.
        return;
    }
    match opened {
        Ok(session) => shared.put(at, session),
        Err(error) => {
            tracing::error!(servable = shared.name, %error, "the session of a new lane cannot be opened");
            give_up(shared, slot, &mut hung);
            return;
        }
    }

    drop(hung);

    if !slot.watch.is_in_place() {
        lane::serve(shared, at);
    }
}

fn give_up(shared: &BatcherShared, slot: &Slot, hung: &mut Hung) {
    slot.is_stuck.store(true, Ordering::Relaxed);
    hung.stuck += 1;
    shared.stuck.store(hung.stuck, Ordering::Relaxed);
}
