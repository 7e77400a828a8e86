//! The map of where models come from, in reading order. A plain directory is
//! the only source; it is seen as a catalogue, and never written to.

pub(crate) mod catalog;
pub(crate) mod directory;
pub(crate) mod pbtxt;
