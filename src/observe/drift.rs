//! Watches what a model is asked and what it answers, beside serving and never
//! in its way: counts, distances, alarms. It stores nothing and calls nobody;
//! only `observer` knows of a thread and a clock.

pub(crate) mod alarm;
pub mod baseline;
pub(crate) mod cells;
pub(crate) mod column;
pub(crate) mod contract;
pub(crate) mod distance;
pub(crate) mod history;
pub(crate) mod layout;
pub(crate) mod observer;
pub(crate) mod profile;
mod share;
pub(crate) mod sketch;
pub(crate) mod slice;
pub(crate) mod watch;
pub(crate) mod window;
