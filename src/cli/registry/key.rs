//! `ortus key`: signing keys, and the file of trusted keys.

use super::arguments::KeyVerb;
use crate::cli::print::{TextTable, line};
use crate::core::error::{Error, Result};
use crate::registry::sign::{PrivateKey, Trust};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;

/// Runs a verb.
pub(super) fn run(verb: KeyVerb) -> Result<ExitCode> {
    match verb {
        KeyVerb::Generate { output } => {
            let (key, text) = PrivateKey::generate()?;
            let failed = |e: std::io::Error| {
                Error::precondition(format!("write {}", output.display())).with_source(e)
            };
            let mut options = std::fs::OpenOptions::new();
            // Never overwrites a key: its signatures could not be made again.
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&output)
                .map_err(failed)?;
            file.write_all(text.as_bytes()).map_err(failed)?;
            line(&key.public());
        }
        KeyVerb::Public { file } => line(&PrivateKey::read(&file)?.public()),
        KeyVerb::Trust { file, key, name } => {
            let mut trust = Trust::read(&file)?;
            trust.add(&key, &name)?;
            trust.write(&file)?;
        }
        KeyVerb::Revoke { file, key, reason } => {
            let mut trust = Trust::read(&file)?;
            trust.revoke(&key, &reason, chrono::Utc::now())?;
            trust.write(&file)?;
        }
        KeyVerb::List { file } => {
            let mut table = TextTable::new(&["key", "name", "revoked", "reason"]);
            for key in &Trust::read(&file)?.keys {
                let revoked = key
                    .revoked
                    .map_or_else(|| "-".to_owned(), |t| t.to_rfc3339());
                table.row(&[&key.key, &key.name, &revoked, &key.reason]);
            }
            table.print();
        }
    }

    Ok(ExitCode::SUCCESS)
}
