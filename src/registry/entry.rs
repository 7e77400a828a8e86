//! One entry of the registry's log: what changed, by whom, why. Owns the format and
//! its version; does not decide whether a change is allowed.

#[cfg(test)]
mod tests;

use super::sign::{self, Policy, PrivateKey, Signed};
use super::text;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{Alias, ModelName, Version};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The format written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;
/// The largest entry.
pub(crate) const ENTRY_BYTES_MAX: u64 = 1 << 20;
/// The longest reason and actor.
pub(crate) const REASON_BYTES_MAX: usize = 4_096;
const ACTOR_BYTES_MAX: usize = 256;

/// A change of the registry, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// [`FORMAT`].
    pub format: u32,
    /// Its number, from 1; also the name of its object.
    pub seq: u64,
    /// SHA-256 of the bytes of the entry before; none for the first.
    pub prev: Option<Digest>,
    /// Random: after a lost response, it shows whether the entry with this number
    /// is the writer's own.
    pub nonce: uuid::Uuid,
    /// By the writer's clock.
    pub time: DateTime<Utc>,
    /// The program that wrote it.
    pub writer: String,
    /// Who made the change. Unverified, unless the entry is signed.
    pub actor: String,
    /// The reason that the actor gave.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The changes; they apply together or not at all.
    pub ops: Vec<Op>,
    /// Evidence for the change, such as measurements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

/// One change. `from` is the value that the writer saw; if it has changed since,
/// the whole entry is void.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Op {
    /// A new version of a model, numbered one more than the last.
    Version {
        model: ModelName,
        version: Version,
        manifest: Digest,
        /// The manifest and every file it lists.
        blobs: Vec<Blob>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        signatures: Vec<Signed>,
        /// The run key of the training run that made it; a run publishes at most
        /// one version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<Digest>,
    },
    /// Makes a version champion; the champion becomes previous, and traffic
    /// weights end.
    Promote {
        model: ModelName,
        version: Version,
        from: Option<Version>,
    },
    /// Makes the previous champion champion again. Later rollbacks never return to
    /// the version that was rolled back.
    Rollback {
        model: ModelName,
        version: Version,
        from: Version,
    },
    /// Points any other alias at a version, or removes it.
    Alias {
        model: ModelName,
        alias: Alias,
        version: Option<Version>,
        from: Option<Version>,
    },
    /// Sets traffic weights in percent, for requests that do not name a version. An
    /// empty map ends the split.
    Traffic {
        model: ModelName,
        weights: BTreeMap<String, u32>,
    },
    /// Retires a version. No alias and no traffic weight may point at it.
    Retire { model: ModelName, version: Version },
    /// Sets or removes a tag of a model or of one version.
    Tag {
        model: ModelName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
        key: String,
        value: Option<String>,
    },
    /// Approves or rejects a version as champion.
    Verdict {
        model: ModelName,
        version: Version,
        approve: bool,
    },
    /// Sets what the namespace requires before a version becomes champion.
    Policy {
        approvals: u32,
        #[serde(default, skip_serializing_if = "Policy::is_none")]
        signatures: Policy,
        /// The keys that may change the policy while signatures are required. If
        /// empty, the keys that signed this entry.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        owners: Vec<String>,
    },
    /// Announces the deletion of blobs. An entry that names one of them later must
    /// upload it again, under the next generation.
    Tombstone { blobs: Vec<Blob> },
}

impl Op {
    /// The model that it changes, if it changes one.
    pub(crate) fn model(&self) -> Option<&ModelName> {
        match self {
            Self::Version { model, .. }
            | Self::Promote { model, .. }
            | Self::Rollback { model, .. }
            | Self::Alias { model, .. }
            | Self::Traffic { model, .. }
            | Self::Retire { model, .. }
            | Self::Tag { model, .. }
            | Self::Verdict { model, .. } => Some(model),
            Self::Policy { .. } | Self::Tombstone { .. } => None,
        }
    }

    /// Describes the change in words, for a person.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Version { version, .. } => format!("pushed version {version}"),
            Self::Promote { version, from, .. } => format!(
                "promoted version {version} to champion{}",
                in_place_of(*from)
            ),
            Self::Rollback { version, from, .. } => {
                format!("rolled back from version {from} to version {version}")
            }
            Self::Alias {
                alias,
                version,
                from,
                ..
            } => match version {
                Some(version) => {
                    format!("pointed {alias} at version {version}{}", in_place_of(*from))
                }
                None => format!("removed {alias}{}", in_place_of(*from)),
            },
            Self::Traffic { weights, .. } => traffic_in_words(weights),
            Self::Retire { version, .. } => format!("retired version {version}"),
            Self::Tag {
                version,
                key,
                value,
                ..
            } => tag_in_words(*version, key, value.as_deref()),
            Self::Verdict {
                version,
                approve: true,
                ..
            } => format!("approved version {version}"),
            Self::Verdict { version, .. } => format!("rejected version {version}"),
            Self::Policy {
                approvals,
                signatures,
                ..
            } => policy_in_words(*approvals, *signatures),
            Self::Tombstone { blobs } => format!("deleted {} blobs", blobs.len()),
        }
    }
}

fn in_place_of(from: Option<Version>) -> String {
    from.map_or_else(String::new, |v| format!(" in place of version {v}"))
}

fn traffic_in_words(weights: &BTreeMap<String, u32>) -> String {
    if weights.is_empty() {
        return "ended the traffic split".to_owned();
    }

    let parts: Vec<String> = weights
        .iter()
        .map(|(to, percent)| format!("{to} {percent} %"))
        .collect();
    format!("split traffic: {}", parts.join(", "))
}

fn tag_in_words(version: Option<Version>, key: &str, value: Option<&str>) -> String {
    let of = version.map_or_else(String::new, |v| format!(" of version {v}"));
    match value {
        Some(value) => format!("tagged{of} {key}={value}"),
        None => format!("removed tag {key}{of}"),
    }
}

fn policy_in_words(approvals: u32, signatures: Policy) -> String {
    match signatures {
        Policy::None => format!("set the policy: approvals {approvals}"),
        Policy::Warn | Policy::Require => format!(
            "set the policy: approvals {approvals}, signatures {}",
            signatures.name()
        ),
    }
}

/// A content-addressed object. Its generation counts how often it was deleted
/// before, so that a late deletion never removes a new upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Digest of the content.
    pub digest: Digest,
    /// Length in bytes.
    pub bytes: u64,
    /// Counts deletions and new uploads of the same content.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
}

/// Tells whether a number is zero, and so left out of the JSON.
pub(super) fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl ReadEntry {
    /// The keys that signed it; each signature was checked when it was read.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.signatures.iter().map(|s| s.key.clone()).collect()
    }
}

/// Evidence for a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The kind, such as `measured`, `gate` or `alarm`.
    pub kind: String,
    /// The values, by name.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub values: serde_json::Map<String, serde_json::Value>,
}

/// An entry as it is stored. The hash is over exactly these bytes, a signature over
/// exactly the bytes of `entry`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    entry: &'a RawValue,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signatures: Vec<Signed>,
}

/// An entry that was read, with the hash of its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReadEntry {
    pub entry: Entry,
    pub signatures: Vec<Signed>,
    pub hash: Digest,
}

impl Entry {
    /// Writes the object, signed if there is a key.
    pub(crate) fn write(&self, key: Option<&PrivateKey>) -> Bytes {
        let text = String::from_utf8(text::write(self)).expect("JSON is UTF-8");
        let signatures = key.iter().map(|key| key.sign(text.as_bytes())).collect();
        let entry = RawValue::from_string(text).expect("JSON just written");
        text::write(&Envelope {
            entry: &entry,
            signatures,
        })
        .into()
    }

    /// Reads the object of entry number `seq`. Refuses a malformed entry, another
    /// number, a newer format (naming the program that wrote it), and an invalid
    /// signature.
    pub(crate) fn read(bytes: &[u8], seq: u64) -> Result<ReadEntry> {
        #[derive(Deserialize)]
        struct EntryHead {
            format: u32,
            #[serde(default)]
            writer: String,
        }

        let what = format!("entry {seq}");
        let envelope: Envelope<'_> = text::read(bytes, &what)?;
        let head: EntryHead = text::read(envelope.entry.get().as_bytes(), &what)?;
        if head.format != FORMAT {
            return Err(Error::precondition(format!(
                "entry {seq} is of format {}, but this ortus reads format {FORMAT}; it was written by {}: use that version or a newer one",
                head.format,
                crate::core::error::short(&head.writer)
            )));
        }

        let entry: Self = text::read(envelope.entry.get().as_bytes(), &what)?;
        if entry.seq != seq {
            return Err(Error::precondition(format!(
                "the object of entry {seq} contains entry number {}",
                entry.seq
            )));
        }

        if let Some(forged) = envelope
            .signatures
            .iter()
            .find(|s| !sign::is_valid(s, envelope.entry.get().as_bytes()))
        {
            let key = crate::core::error::short(&forged.key);
            return Err(Error::precondition(format!(
                "entry {seq} has an invalid signature: the key that it names, {key}, did not sign it"
            )));
        }

        Ok(ReadEntry {
            entry,
            signatures: envelope.signatures,
            hash: Digest::of(bytes),
        })
    }

    /// Checks the actor and the reason, which people write.
    pub(crate) fn check_words(actor: &str, reason: &str) -> Result<()> {
        if actor.is_empty() || actor.len() > ACTOR_BYTES_MAX || actor.chars().any(char::is_control)
        {
            return Err(Error::invalid(format!(
                "the actor must be one line of 1 to {ACTOR_BYTES_MAX} bytes"
            )));
        }

        if reason.len() > REASON_BYTES_MAX || reason.chars().any(|c| c.is_control() && c != '\n') {
            return Err(Error::invalid(format!(
                "the reason must have at most {REASON_BYTES_MAX} bytes and no control characters"
            )));
        }

        Ok(())
    }
}
