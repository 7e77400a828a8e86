//! From a request to an answer.
//!
//! Entry points: [`predict`] (the one use case), [`route`] (which version
//! answers), [`servable`] (a loaded version), [`batch`] (queue, batch forming,
//! lanes), [`shadow`] (copies of requests to a second version), [`explanations`] (what inputs contributed), [`manager`]
//! (loads and unloads versions, publishes routes),
//! [`settings`] (how one model is loaded and served).
//!
//! May import every wing above it in `lib.rs`; never `api` or `client`.

pub(crate) mod batch;
pub(crate) mod explanations;
pub(crate) mod manager;
pub(crate) mod parts;
pub(crate) mod predict;
pub(crate) mod reshapes;
pub(crate) mod route;
pub(crate) mod servable;
pub(crate) mod settings;
pub(crate) mod shadow;
pub(crate) mod tuning;
