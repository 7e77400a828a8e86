//! Which versions of a model are served, as the configuration or the model's
//! `config.pbtxt` says.

use crate::core::model::Version;
use std::fmt;

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

impl fmt::Display for VersionPolicy {
    /// Writes the policy as the configuration does: `latest:1`, `all` or `[1, 3]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest(count) => write!(f, "latest:{count}"),
            Self::All => f.write_str("all"),
            Self::Specific(list) => {
                let numbers: Vec<String> = list.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", numbers.join(", "))
            }
        }
    }
}
