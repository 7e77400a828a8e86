//! Where models come from: the registry (a log of changes with
//! content-addressed blobs beside it), or a plain model directory, which is
//! only read.
//!
//! Entry points: [`commands`] (push, promote, roll back, garbage collection …,
//! one function each, for command line and operator API), [`follow`] (what a
//! server serves of a registry), [`directory`] (what it serves of a directory).
//! Both give a [`catalog`].
//!
//! Below them: [`entry`] is the format of the log, [`fold`] turns entries into
//! a state, [`log`] reads and commits entries, [`blob`] holds files.
//!
//! May import `core`, `onnx`, `storage`, `sandbox` and parts of `observe`.

pub(crate) mod catalog;
pub mod commands;
pub(crate) mod directory;
pub(crate) mod pbtxt;
pub(crate) mod version_policy;

pub mod blob;
pub mod entry;
pub(crate) mod fold;
pub(crate) mod follow;
pub(crate) mod log;
pub mod manifest;
pub(crate) mod model_file;
pub mod servers;
pub(crate) mod settings;
pub(crate) mod sign;
mod text;
