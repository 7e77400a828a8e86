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

/// Data that break what was seen before.
mod bad_data;

/// One table in many dialects has one score.
mod dialects;

/// Rows of the file, sent as JSON, give what training gave.
mod wire;

/// What `init` writes is taken by `run`.
mod init;

/// Gates, and how rows are split.
mod gates;

/// Objectives, monotone features, weights and calibration.
mod objectives;

/// Exported graphs and the companion model.
mod exports;

/// What inputs contributed to predictions.
mod explain;

/// Rows and registry in a bucket.
mod buckets;

/// Drift, an alarm, retraining and recovery.
mod closed_loop;

/// Triggers start a run, each once.
mod watch;

/// What is done about an alarm.
mod alarms;

/// Labels that show another rule, an alarm about losses, and a new champion.
mod concept;

/// Trainers killed at any moment.
mod chaos;

/// Hyperparameter search, and MLflow.
mod experiments;

/// Training programs of the user.
mod program;
