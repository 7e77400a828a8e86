//! The manifest of a dataset: which files and which query its rows came from,
//! with digests, so that the same data gives the same run key.

use chrono::{DateTime, Utc};
use ortus::core::hash::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The files and the query that rows came from. Fields stand in alphabetical
/// order, because records of runs have always been written that way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DataManifest {
    /// The time that counts as now: rows of later times are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
    /// The columns of the result and their types.
    pub columns: Vec<(String, String)>,
    /// The number of files of each source of which `sources` lists only the first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files_in_all: BTreeMap<String, usize>,
    pub rows: usize,
    pub sources: Vec<SourceFiles>,
    pub sql: String,
    /// The first and the last time of the rows, if they have a time column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// A table of files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceFiles {
    pub files: Vec<SourceFile>,
    pub name: String,
    /// The digest of the rows, for a source whose files change while its rows stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_digest: Option<Digest>,
}

/// A file of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceFile {
    pub bytes: u64,
    pub digest: Digest,
    /// Relative to the specification if possible.
    pub path: String,
}

impl DataManifest {
    /// Returns the digest of the rows, which is the same whenever the same rows are read.
    pub(crate) fn rows_digest(&self) -> Digest {
        let text = serde_json::json!([self.files(), self.sql, self.rows]);
        Digest::of(text.to_string().as_bytes())
    }

    /// Returns the digest, which is the same for the same files and query, wherever the files are.
    pub(crate) fn digest(&self) -> Digest {
        let files = self.files();
        let text = match self.as_of {
            None => serde_json::json!([files, self.sql]),
            Some(as_of) => serde_json::json!([files, self.sql, as_of]),
        };
        Digest::of(text.to_string().as_bytes())
    }

    /// Returns the digests of the files, or of the rows, of each source.
    fn files(&self) -> Vec<(&str, Vec<String>)> {
        let files = self.sources.iter().map(|s| {
            let all: Vec<String> = match s.rows_digest {
                Some(rows) => vec![rows.to_string()],
                None => s.files.iter().map(|f| f.digest.to_string()).collect(),
            };
            (s.name.as_str(), all)
        });
        files.collect()
    }
}
