//! What a connection is doing: counters that its parts write and its clocks read.

use crate::api::stop::CountedRequest;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::net::TcpStream;

/// What a connection is doing.
#[derive(Default)]
pub(super) struct Activity {
    /// Requests being answered.
    pub(super) active: AtomicU32,
    /// Requests ever begun: their headers are complete.
    pub(super) begun: AtomicU32,
    /// Answers of which HTTP has not yet taken the whole body.
    pub(super) unsent: AtomicU32,
    /// Pieces of bodies that HTTP took.
    pub(super) pieces: AtomicU32,
    /// Reads that brought bytes.
    pub(super) reads: AtomicU32,
    /// Whether the last write had to wait for the client.
    pub(super) blocked: AtomicBool,
    /// Whether the client speaks HTTP/2.
    pub(super) is_h2: AtomicBool,
    /// Whether an answer announced the close, with a body possibly unread.
    pub(super) announced: AtomicBool,
    /// The socket, once HTTP is done with it.
    pub(super) socket: Mutex<Option<TcpStream>>,
}

/// One request from its headers to the end of its answer. Dropping it ends it.
pub(crate) struct AnswerProgress {
    activity: Arc<Activity>,
    is_answered: bool,
    _counted: Option<CountedRequest>,
}

impl AnswerProgress {
    pub(super) fn begin(activity: &Arc<Activity>, counted: Option<CountedRequest>) -> Self {
        activity.active.fetch_add(1, Ordering::Relaxed);
        activity.begun.fetch_add(1, Ordering::Relaxed);
        Self {
            activity: Arc::clone(activity),
            is_answered: false,
            _counted: counted,
        }
    }

    /// The answer is known. From now on the connection waits for its client.
    pub(crate) fn answered(&mut self) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.activity.active.fetch_sub(1, Ordering::Relaxed);
            self.activity.unsent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The answer announces that the connection is closed after it.
    pub(super) fn announce_close(&self) {
        self.activity.announced.store(true, Ordering::Relaxed);
    }

    /// HTTP took a piece of the answer.
    pub(crate) fn note_piece(&self) {
        self.activity.pieces.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for AnswerProgress {
    fn drop(&mut self) {
        let counter = match self.is_answered {
            true => &self.activity.unsent,
            false => &self.activity.active,
        };
        counter.fetch_sub(1, Ordering::Relaxed);
    }
}
