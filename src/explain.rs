//! What each input of a row contributed to the score of a model: exact Shapley values.
//!
//! Entry points: [`file`](mod@file) (what a version carries, read and written), [`model`] (explains rows of features),
//! [`request`] (explains the tensors of a request), [`trees`] and [`linear`] (the two kinds of models), [`derivation`]
//! (features that are computed from an input).
//!
//! Runs no model, starts no thread and reads no clock. Imports only `core`.

pub mod derivation;
pub mod file;
pub mod linear;
pub mod model;
pub mod request;
pub mod trees;
