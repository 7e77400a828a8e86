//! Which versions of a model are served, as the configuration or the model's
//! `config.pbtxt` says.

use crate::core::model::Version;

/// Which versions of a model are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The versions with the highest numbers: so many, at least one.
    Latest(u32),
    /// Every version.
    All,
    /// These versions, where they exist.
    Specific(Vec<Version>),
}
