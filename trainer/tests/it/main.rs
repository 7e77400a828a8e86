//! Integration tests of the trainer: the table of contents.

#![allow(clippy::print_stdout)]

#[allow(
    dead_code,
    reason = "shared with the server's tests, which use all of it"
)]
#[path = "../../../tests/it/support.rs"]
mod support;

mod place;

/// From data to a version that is served.
mod trainer;

/// A stream drifts, and the trainer mends it.
mod looped;

/// What starts a run, and what keeps it from running twice.
mod watch;

/// Trainers killed at any moment.
mod chaos;

/// Settings that are tried, and MLflow.
mod experiments;

/// Programs of the user's own that learn.
mod program;
