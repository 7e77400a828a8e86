//! Performance of served models: measured with labels, and estimated without. Pure: owns no clock,
//! no store and no thread.

pub mod answer;
pub(crate) mod book;
pub mod calibrate;
pub(crate) mod companion;
pub(crate) mod estimate;
pub mod measure;
pub(crate) mod sequential;
pub(crate) mod sliced;
