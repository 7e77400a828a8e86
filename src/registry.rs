//! The map of where models come from, in reading order: the registry, a log of
//! changes with content-addressed blobs beside it, or a plain directory, seen
//! as a catalogue and never written to.

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
pub mod servers;
pub(crate) mod sign;
mod text;
