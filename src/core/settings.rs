//! How every wing declares its settings: the macros for a section, how values are written, and
//! the messages about a text. Owns no section: each room declares its own beside the code that
//! uses it, and `config` reads them all.

pub mod form;
pub mod section;
pub mod text;
