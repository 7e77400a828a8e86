//! Writes what observation still has in memory when the server stops: the last captured predictions,
//! the last answers that are kept for labels, and the state of the monitor.

use crate::api::Front;
use crate::observe::capture::Capture;
use parking_lot::Mutex;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long the monitor may take to pass the last predictions on.
const MONITOR_END: Duration = Duration::from_secs(2);
/// Interval at which the stop looks whether it has.
const MONITOR_DELAY: Duration = Duration::from_millis(10);

/// Waits for the monitor, and writes what was passed on.
pub(super) fn write(front: &Front, capture: Option<&Mutex<Capture>>, background: &Runtime) {
    let Some(monitor) = &front.monitor else {
        return;
    };

    let end = Instant::now() + MONITOR_END;
    while !monitor.is_idle() && Instant::now() < end {
        std::thread::sleep(MONITOR_DELAY);
    }
    if let Some(capture) = capture {
        capture.lock().finish();
    }
    if let Some(labels) = &front.labels {
        background.block_on(labels.flush());
    }
    background.block_on(monitor.save_last());
}
