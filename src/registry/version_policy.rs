//! Which versions of a model are served, as the configuration or the model's
//! `config.pbtxt` says.

use crate::core::model::Version;

/// Which versions of a model are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// This many versions (at least one), those with the highest numbers.
    Latest(u32),
    /// Every version.
    All,
    /// These versions, if they exist.
    Specific(Vec<Version>),
}
