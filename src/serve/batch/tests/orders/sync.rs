//! Locks, atomic numbers and threads that are those of shuttle while a test tries orders, and the usual
//! ones otherwise. Each has the methods that the batcher calls.
//!
//! A wait with a time limit ends only when it is woken: time does not pass while orders are tried.

use parking_lot::Mutex as RealMutex;
use shuttle::sync::atomic as tried;
use std::cell::Cell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::sync::atomic::{self as real, Ordering};
use std::time::{Duration, Instant};

thread_local! {
    /// Whether shuttle runs on this thread, which then is the only one.
    static IS_TRYING: Cell<bool> = const { Cell::new(false) };
}

/// Ends the trying of orders, also after a failure.
struct TryingEnds;

impl Drop for TryingEnds {
    fn drop(&mut self) {
        IS_TRYING.set(false);
    }
}

/// What is made while `run` runs is shuttle's.
pub(super) fn trying(run: impl FnOnce()) {
    IS_TRYING.set(true);
    let _end = TryingEnds;
    run();
}

pub(in crate::serve::batch) fn spawn(
    name: String,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    match IS_TRYING.get() {
        true => shuttle::thread::Builder::new()
            .name(name)
            .spawn(run)
            .map(drop),
        false => std::thread::Builder::new().name(name).spawn(run).map(drop),
    }
}

pub(in crate::serve::batch) enum Mutex<T> {
    Real(RealMutex<T>),
    Tried(shuttle::sync::Mutex<T>),
}

pub(in crate::serve::batch) enum MutexGuard<'m, T> {
    Real(parking_lot::MutexGuard<'m, T>),
    /// Empty only while a condition is waited for.
    Tried(Option<shuttle::sync::MutexGuard<'m, T>>),
}

impl<T> Mutex<T> {
    pub(in crate::serve::batch) fn new(value: T) -> Self {
        match IS_TRYING.get() {
            true => Self::Tried(shuttle::sync::Mutex::new(value)),
            false => Self::Real(RealMutex::new(value)),
        }
    }

    pub(in crate::serve::batch) fn lock(&self) -> MutexGuard<'_, T> {
        match self {
            Self::Real(mutex) => MutexGuard::Real(mutex.lock()),
            Self::Tried(mutex) => {
                let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
                MutexGuard::Tried(Some(guard))
            }
        }
    }

    pub(in crate::serve::batch) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self {
            Self::Real(mutex) => mutex.try_lock().map(MutexGuard::Real),
            Self::Tried(mutex) => match mutex.try_lock() {
                Ok(guard) => Some(MutexGuard::Tried(Some(guard))),
                Err(_) => None,
            },
        }
    }

    pub(in crate::serve::batch) fn try_lock_for(
        &self,
        limit: Duration,
    ) -> Option<MutexGuard<'_, T>> {
        match self {
            Self::Real(mutex) => mutex.try_lock_for(limit).map(MutexGuard::Real),
            Self::Tried(_) => Some(self.lock()),
        }
    }

    pub(in crate::serve::batch) fn is_locked(&self) -> bool {
        match self {
            Self::Real(mutex) => mutex.is_locked(),
            Self::Tried(_) => self.try_lock().is_none(),
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Real(guard) => guard,
            Self::Tried(guard) => guard.as_ref().expect("it is held"),
        }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Self::Real(guard) => guard,
            Self::Tried(guard) => guard.as_mut().expect("it is held"),
        }
    }
}

pub(in crate::serve::batch) enum Condvar {
    Real(parking_lot::Condvar),
    Tried(shuttle::sync::Condvar),
}

impl Condvar {
    pub(in crate::serve::batch) fn new() -> Self {
        match IS_TRYING.get() {
            true => Self::Tried(shuttle::sync::Condvar::new()),
            false => Self::Real(parking_lot::Condvar::new()),
        }
    }

    pub(in crate::serve::batch) fn notify_one(&self) {
        match self {
            Self::Real(condvar) => {
                condvar.notify_one();
            }
            Self::Tried(condvar) => condvar.notify_one(),
        }
    }

    pub(in crate::serve::batch) fn notify_all(&self) {
        match self {
            Self::Real(condvar) => {
                condvar.notify_all();
            }
            Self::Tried(condvar) => condvar.notify_all(),
        }
    }

    pub(in crate::serve::batch) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        match (self, guard) {
            (Self::Real(condvar), MutexGuard::Real(guard)) => condvar.wait(guard),
            (Self::Tried(condvar), MutexGuard::Tried(guard)) => {
                let held = guard.take().expect("it is held");
                let woken = condvar.wait(held);
                *guard = Some(woken.unwrap_or_else(PoisonError::into_inner));
            }
            _ => unreachable!("both were made by the same test"),
        }
    }

    pub(in crate::serve::batch) fn wait_until<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        until: Instant,
    ) {
        match (self, guard) {
            (Self::Real(condvar), MutexGuard::Real(guard)) => {
                let _ = condvar.wait_until(guard, until);
            }
            (_, guard) => self.wait(guard),
        }
    }
}

/// Declares an atomic type with some of its methods.
macro_rules! atomic {
    ($name:ident, $value:ty) => {
        pub(in crate::serve::batch) enum $name {
            Real(real::$name),
            Tried(tried::$name),
        }

        impl $name {
            pub(in crate::serve::batch) fn new(value: $value) -> Self {
                match IS_TRYING.get() {
                    true => Self::Tried(tried::$name::new(value)),
                    false => Self::Real(real::$name::new(value)),
                }
            }

            pub(in crate::serve::batch) fn load(&self, order: Ordering) -> $value {
                match self {
                    Self::Real(atomic) => atomic.load(order),
                    Self::Tried(atomic) => atomic.load(order),
                }
            }

            pub(in crate::serve::batch) fn store(&self, value: $value, order: Ordering) {
                match self {
                    Self::Real(atomic) => atomic.store(value, order),
                    Self::Tried(atomic) => atomic.store(value, order),
                }
            }
        }
    };
}

/// Adds a method that takes a value and an order.
macro_rules! change {
    ($name:ident, $value:ty, $method:ident) => {
        impl $name {
            pub(in crate::serve::batch) fn $method(
                &self,
                value: $value,
                order: Ordering,
            ) -> $value {
                match self {
                    Self::Real(atomic) => atomic.$method(value, order),
                    Self::Tried(atomic) => atomic.$method(value, order),
                }
            }
        }
    };
}

/// Adds `compare_exchange`.
macro_rules! exchange {
    ($name:ident, $value:ty) => {
        impl $name {
            pub(in crate::serve::batch) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                match self {
                    Self::Real(atomic) => atomic.compare_exchange(from, to, success, failure),
                    Self::Tried(atomic) => atomic.compare_exchange(from, to, success, failure),
                }
            }
        }
    };
}

atomic!(AtomicBool, bool);
change!(AtomicBool, bool, swap);
atomic!(AtomicU32, u32);
change!(AtomicU32, u32, fetch_add);
exchange!(AtomicU32, u32);
atomic!(AtomicU64, u64);
change!(AtomicU64, u64, swap);
change!(AtomicU64, u64, fetch_add);
exchange!(AtomicU64, u64);
atomic!(AtomicUsize, usize);
