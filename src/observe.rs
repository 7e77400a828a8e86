//! What is counted of predictions, and what is concluded from it. It is handed
//! data and never waited for.
//!
//! Entry points: [`metrics`], [`traces`], [`logging`], [`drift`] (inputs and
//! outputs against the training baseline), [`quality`] (measures by labels, and
//! estimates without), [`labels`] (ground truth that clients send), [`capture`]
//! (recorded predictions), [`fleet`] (windows added up over servers),
//! [`alarms`] (the alarm log), [`profile`] (makes baselines), [`backtest`] (the monitor on
//! rows of the past) and [`report`] (the HTML page about a model).
//!
//! May import `core`, `storage`, and `onnx` (companion models, tasks of outputs).

pub mod alarms;
pub(crate) mod backtest;
pub mod capture;
pub mod drift;
pub(crate) mod fleet;
pub mod labels;
pub(crate) mod logging;
pub(crate) mod metrics;
pub mod profile;
pub mod quality;
pub mod report;
pub(crate) mod traces;
