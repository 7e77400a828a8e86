//! The calls of one connection that its task polls itself: no task for each, and no allocation once
//! the connection is warm. A call is polled only when it was woken.

use futures_util::task::AtomicWaker;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Places that a connection without calls keeps.
const KEPT: usize = 4;

/// The calls in progress.
pub(super) struct Calls<F> {
    slots: Vec<CallSlot<F>>,
    free: Vec<usize>,
    connection: Arc<ConnectionWaker>,
}

/// A place for one call at a time.
struct CallSlot<F> {
    call: Pin<Box<Option<F>>>,
    woken: Arc<CallWaker>,
    waker: Waker,
}

/// Wakes the task of the connection.
#[derive(Default)]
struct ConnectionWaker {
    task: AtomicWaker,
    /// Whether a call was woken since the last look.
    has_woken: AtomicBool,
}

/// Wakes one call.
struct CallWaker {
    is_woken: AtomicBool,
    connection: Arc<ConnectionWaker>,
}

impl Wake for CallWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        if !self.connection.has_woken.swap(true, Ordering::AcqRel) {
            self.connection.task.wake();
        }
    }
}

impl<F> Default for Calls<F> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            connection: Arc::default(),
        }
    }
}

impl<F> Calls<F> {
    /// Adds a call, which the next [`Calls::poll`] polls.
    pub(super) fn push(&mut self, call: F) {
        let at = self.free.pop().unwrap_or_else(|| self.add_slot());
        let slot = &mut self.slots[at];
        slot.call.as_mut().set(Some(call));
        slot.woken.is_woken.store(true, Ordering::Release);
        self.connection.has_woken.store(true, Ordering::Release);
    }

    fn add_slot(&mut self) -> usize {
        let woken = Arc::new(CallWaker {
            is_woken: AtomicBool::new(false),
            connection: Arc::clone(&self.connection),
        });
        self.slots.push(CallSlot {
            call: Box::pin(None),
            waker: Arc::clone(&woken).into(),
            woken,
        });
        self.slots.len() - 1
    }

    /// Frees the places that a burst needed.
    fn shrink(&mut self) {
        if self.free.len() == self.slots.len() && self.slots.len() > KEPT {
            self.slots.truncate(KEPT);
            self.free.retain(|at| *at < KEPT);
        }
    }
}

impl<F: Future<Output = ()>> Calls<F> {
    /// Polls the calls that were woken. Returns whether there were any.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        self.connection.task.register(cx.waker());
        if !self.connection.has_woken.swap(false, Ordering::AcqRel) {
            self.shrink();
            return false;
        }

        for (at, slot) in self.slots.iter_mut().enumerate() {
            if !slot.woken.is_woken.swap(false, Ordering::AcqRel) {
                continue;
            }
            let Some(call) = slot.call.as_mut().as_pin_mut() else {
                continue;
            };
            let mut call_cx = Context::from_waker(&slot.waker);
            // A panic ends its own call only, which resets its stream.
            let polled = catch_unwind(AssertUnwindSafe(|| call.poll(&mut call_cx)));
            if !matches!(polled, Ok(Poll::Pending)) {
                slot.call.set(None);
                self.free.push(at);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn poll(calls: &mut Calls<impl Future<Output = ()>>) -> bool {
        calls.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_calls_that_were_woken_are_polled_and_places_are_used_again() {
        let polls = Arc::<std::sync::Mutex<Vec<usize>>>::default();
        let call = |number: usize, until: oneshot::Receiver<()>| {
            let polls = Arc::clone(&polls);
            let mut until = Box::pin(until);
            std::future::poll_fn(move |cx| {
                polls.lock().expect("unpoisoned").push(number);
                until.as_mut().poll(cx).map(|_| ())
            })
        };
        let seen = || std::mem::take(&mut *polls.lock().expect("unpoisoned"));

        let mut calls = Calls::default();
        let (ends, untils): (Vec<_>, Vec<_>) = (0..9).map(|_| oneshot::channel()).unzip();
        for (number, until) in untils.into_iter().enumerate() {
            calls.push(call(number, until));
        }
        assert!(poll(&mut calls));
        assert_eq!(seen(), Vec::from_iter(0..9));
        assert!(!poll(&mut calls));

        let mut ends: Vec<_> = ends.into_iter().map(Some).collect();
        for at in [5, 7] {
            ends[at].take().expect("once").send(()).expect("listens");
        }
        assert!(poll(&mut calls));
        assert_eq!(seen(), [5, 7]);

        let (_end, until) = oneshot::channel();
        calls.push(call(9, until));
        assert_eq!(calls.slots.len(), 9);
        assert!(poll(&mut calls));
        assert_eq!(seen(), [9]);

        drop((ends, _end));
        assert!(poll(&mut calls));
        assert!(!poll(&mut calls));
        assert_eq!((calls.slots.len(), calls.free.len()), (KEPT, KEPT));
    }

    #[test]
    fn a_call_that_panics_ends_alone() {
        let mut calls = Calls::default();
        let done = Arc::new(AtomicBool::new(false));
        for is_broken in [true, false] {
            let done = Arc::clone(&done);
            calls.push(async move {
                assert!(!is_broken, "scripted panic");
                done.store(true, Ordering::Relaxed);
            });
        }
        assert!(poll(&mut calls));
        assert!(done.load(Ordering::Relaxed));
        assert_eq!(calls.free.len(), 2);
    }
}
