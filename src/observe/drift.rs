//! Drift: compares what served models receive and predict with their training baseline. Counts
//! values in windows, measures distances and raises alarms. Stores nothing and sends nothing; only
//! `observer` owns a thread and reads the clock.

pub(crate) mod age;
pub(crate) mod alarm;
mod arrivals;
#[cfg(test)]
mod bad_input;
pub mod baseline;
pub(crate) mod breach;
pub(crate) mod cells;
pub(crate) mod column;
pub mod compare;
pub(crate) mod contract;
pub(crate) mod distance;
pub mod facts;
pub(crate) mod fits;
pub(crate) mod history;
pub(crate) mod incident;
pub(crate) mod keeping;
pub mod kind;
pub(crate) mod known;
pub(crate) mod layout;
pub(crate) mod notes;
pub(crate) mod observer;
pub(crate) mod profile;
pub mod projection;
pub(crate) mod quantile;
pub(crate) mod reference;
pub(crate) mod series;
pub(crate) mod settings;
mod share;
pub(crate) mod sketch;
pub mod slice;
mod traffic;
pub(crate) mod watch;
pub(crate) mod window;
mod word_filter;
