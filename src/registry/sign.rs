//! Signatures of versions and entries: Ed25519 keys, what they sign, and the local
//! file of trusted keys. The log itself never makes a key trusted.

#[cfg(test)]
mod tests;

use super::text;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::ModelName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The largest key or trust file.
const FILE_BYTES_MAX: u64 = 1 << 20;
const PREFIX: &str = "ed25519:";
/// The first line of a private key's file.
const PRIVATE: &str = "ortus-private-key-1";

/// Signature policy: of a server for the versions that it loads, and of a namespace
/// for every change. The stricter one applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Signatures are not checked.
    #[default]
    None,
    /// A version without a trusted signature is served, and a warning is logged.
    Warn,
    /// A version without a trusted signature is refused.
    Require,
}

impl Policy {
    /// Tells whether signatures are not checked.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Reads its name.
    pub(crate) fn parse(word: &str) -> Result<Self> {
        let all = [Self::None, Self::Warn, Self::Require];
        let found = all.into_iter().find(|p| p.name() == word);
        found.ok_or_else(|| Error::invalid("the signature policy must be none, warn or require"))
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Warn => "warn",
            Self::Require => "require",
        }
    }
}

/// A private key.
pub struct PrivateKey(Ed25519KeyPair);

impl PrivateKey {
    /// Makes a new key; returns it and the text of its file.
    pub(crate) fn generate() -> Result<(Self, String)> {
        let failed = || Error::internal("generate a key");
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| failed())?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|_| failed())?;
        Ok((
            Self(pair),
            format!("{PRIVATE}\n{}\n", STANDARD.encode(document.as_ref())),
        ))
    }

    /// Reads the file of a private key.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let refuse = || {
            Error::invalid(format!(
                "{} is not a private key written by `ortus key generate`",
                path.display()
            ))
        };

        let bytes = small_file(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| refuse())?;
        let body = text
            .strip_prefix(PRIVATE)
            .and_then(|body| STANDARD.decode(body.trim()).ok())
            .ok_or_else(refuse)?;
        Ed25519KeyPair::from_pkcs8(&body)
            .map(Self)
            .map_err(|_| refuse())
    }

    /// The public key, as logs and trust files write it.
    pub(crate) fn public(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0.public_key().as_ref()))
    }

    /// Signs bytes.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Signed {
        Signed {
            key: self.public(),
            value: STANDARD.encode(self.0.sign(bytes).as_ref()),
        }
    }
}

/// A signature by a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// `ed25519:` and the public key in base64.
    pub key: String,
    /// Base64.
    pub value: String,
}

/// The bytes that the signature of a version covers. It is not valid for the same
/// manifest in another namespace or under another name.
pub(crate) fn statement(namespace: &str, model: &ModelName, manifest: &Digest) -> Vec<u8> {
    format!("ortus version 1\n{namespace}\n{model}\n{manifest}\n").into_bytes()
}

/// Tells whether the key that a signature names signed these bytes.
pub(crate) fn is_valid(signed: &Signed, bytes: &[u8]) -> bool {
    let decode = |text: &str| STANDARD.decode(text).ok();
    let key = signed.key.strip_prefix(PREFIX).and_then(decode);
    let parts = key.zip(decode(&signed.value));
    parts.is_some_and(|(key, value)| {
        UnparsedPublicKey::new(&ED25519, key)
            .verify(bytes, &value)
            .is_ok()
    })
}

/// The keys that are trusted here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trust {
    /// Number of the format: 1.
    pub format: u32,
    pub keys: Vec<Trusted>,
}

/// One key, and whether it was revoked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trusted {
    pub key: String,
    /// Name of its owner, for display.
    #[serde(default)]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Trust {
    /// Reads a trust file. If the file does not exist, no key is trusted.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self {
                format: 1,
                keys: Vec::new(),
            });
        }

        let read: Self = text::read(
            &small_file(path)?,
            &format!("the trust file {}", path.display()),
        )?;
        if read.format != 1 {
            return Err(Error::precondition(format!(
                "the trust file is of format {}, not 1",
                read.format
            )));
        }

        Ok(read)
    }

    /// Writes the file under a temporary name, then renames it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let failed = |e: std::io::Error| {
            Error::precondition(format!("write {}", path.display())).with_source(e)
        };
        let folder = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut staged = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;

        let pretty = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::internal("print trust").with_source(e))?;
        std::io::Write::write_all(&mut staged, &pretty).map_err(failed)?;
        // Servers run as another user, and must be able to read it.
        let mode = std::fs::metadata(path).map_or(0o644, |m| m.permissions().mode() & 0o777);
        staged
            .as_file()
            .set_permissions(std::fs::Permissions::from_mode(mode))
            .map_err(failed)?;
        staged.as_file().sync_all().map_err(failed)?;

        staged.persist(path).map(drop).map_err(|e| failed(e.error))
    }

    /// Trusts a key. A revoked key cannot be trusted again.
    pub(crate) fn add(&mut self, key: &str, name: &str) -> Result<()> {
        check_public(key)?;
        if let Some(known) = self.keys.iter().find(|k| k.key == key) {
            return match known.revoked {
                Some(_) => Err(Error::precondition(
                    "the key is revoked; generate a new one",
                )),
                None => Ok(()),
            };
        }

        self.keys.push(Trusted {
            key: key.to_owned(),
            name: name.to_owned(),
            revoked: None,
            reason: String::new(),
        });

        Ok(())
    }

    /// Revokes a key permanently; what it signed is refused from now on.
    pub(crate) fn revoke(&mut self, key: &str, reason: &str, now: DateTime<Utc>) -> Result<()> {
        let known = self.keys.iter_mut().find(|k| k.key == key);
        let known = known.ok_or_else(|| Error::not_found("the key is not in the trust file"))?;
        known.revoked.get_or_insert(now);
        reason.clone_into(&mut known.reason);
        Ok(())
    }

    /// Whether a key is trusted, and not revoked.
    pub(crate) fn counts(&self, key: &str) -> bool {
        self.keys
            .iter()
            .any(|k| k.key == key && k.revoked.is_none())
    }

    /// Returns the trusted keys that signed these bytes; if there are none, why.
    pub(crate) fn trusted_signers(
        &self,
        signatures: &[Signed],
        bytes: &[u8],
    ) -> Result<BTreeSet<String>, String> {
        let mut why = "it is not signed".to_owned();
        let mut keys = BTreeSet::new();
        for signed in signatures {
            let known = self.keys.iter().find(|k| k.key == signed.key);
            match known {
                _ if !is_valid(signed, bytes) => {
                    why = "its signature is not valid for this version".to_owned()
                }
                None => why = format!("it is signed by {}, which is not trusted here", signed.key),
                Some(Trusted {
                    revoked: Some(since),
                    name,
                    ..
                }) => {
                    why = format!("it is signed by a key that was revoked at {since} ({name})");
                }
                Some(_) => drop(keys.insert(signed.key.clone())),
            }
        }

        if keys.is_empty() { Err(why) } else { Ok(keys) }
    }
}

/// Refuses what is not a public key.
pub(crate) fn check_public(key: &str) -> Result<()> {
    let decoded = key
        .strip_prefix(PREFIX)
        .and_then(|text| STANDARD.decode(text).ok());
    match decoded.map(|bytes| bytes.len()) {
        Some(32) => Ok(()),
        _ => Err(Error::invalid(
            "a public key must be `ed25519:` and 32 bytes in base64",
        )),
    }
}

fn small_file(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |e: std::io::Error| {
        Error::invalid(format!("{} cannot be read", path.display())).with_source(e)
    };
    match std::fs::metadata(path).map_err(unreadable)?.len() {
        n if n > FILE_BYTES_MAX => Err(Error::invalid(format!(
            "{} is over {FILE_BYTES_MAX} bytes",
            path.display()
        ))),
        _ => std::fs::read(path).map_err(unreadable),
    }
}
