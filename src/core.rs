//! Plain data that every other wing shares. No input, no output, no async.
//!
//! Entry points: [`count`] (numbers with their nouns), [`error`] (an error, and what its caller should do), [`hash`]
//! (digests, SplitMix), [`model`] (names, versions, signatures), [`settings`] (the
//! macros that declare sections of the configuration), [`spread`](mod@spread) (work on several threads), [`tensor`] (values and their
//! JSON form), [`request`] (a prediction request and its answer).
//!
//! Imports no other wing.

pub mod count;
pub mod error;
pub(crate) mod fields;
pub mod hash;
pub mod model;
pub mod moment;
pub mod names;
pub mod request;
pub mod settings;
pub mod spread;
pub mod tensor;
