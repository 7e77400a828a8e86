//! The manifest of a dataset: which files and which query its rows came from,
//! with digests, so that the same data gives the same run key.

use chrono::{DateTime, Utc};
use ortus::core::hash::Digest;
use serde::{Deserialize, Serialize};

/// Where rows came from, exactly enough to see whether they are the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub sources: Vec<Source>,
    pub sql: String,
    pub rows: usize,
    /// The answer's columns and their types.
    pub columns: Vec<(String, String)>,
    /// The time that counts as now: what came later is not among the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
    /// The first and the last time, where there is such a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// A table of files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub name: String,
    pub files: Vec<SourceFile>,
    /// What was made of the files, where that is what counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_digest: Option<Digest>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceFile {
    /// Relative to the specification where it can be.
    pub path: String,
    pub digest: Digest,
    pub bytes: u64,
}

impl Manifest {
    /// The same for the same files and query, wherever they lie.
    pub(crate) fn digest(&self) -> Digest {
        let files = self.sources.iter().map(|s| {
            let all: Vec<String> = match s.rows_digest {
                Some(rows) => vec![rows.to_string()],
                None => s.files.iter().map(|f| f.digest.to_string()).collect(),
            };
            (s.name.as_str(), all)
        });
        let files: Vec<_> = files.collect();
        let text = match self.as_of {
            None => serde_json::json!([files, self.sql]),
            Some(as_of) => serde_json::json!([files, self.sql, as_of]),
        };
        let text = text.to_string();
        ortus::core::hash::Digest::of(text.as_bytes())
    }
}
