//! Arguments of the registry's commands, and how targets, weights and times are read.

pub(super) mod change;
#[cfg(test)]
mod tests;

use crate::cli::CommonArguments;
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use change::{
    AliasArguments, GcArguments, ImportArguments, NameAndVersion, PolicyArguments,
    PromoteArguments, PushArguments, RollbackArguments, TagArguments, TrafficArguments,
};
use chrono::{DateTime, Days, NaiveDate, Utc};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Which registry, and how to print.
#[derive(Args)]
pub struct RegistryArguments {
    /// Registry URL: file:///path, s3://bucket/path, gs://bucket/path or az://container/path.
    #[arg(long, value_name = "URL")]
    pub registry: Option<String>,
    /// Namespace of the registry [default: default].
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Configuration file [default: ./ortus.toml if it exists].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl RegistryArguments {
    /// Returns the arguments of other commands, with the configuration file alone.
    pub(in crate::cli) fn file(&self) -> CommonArguments {
        CommonArguments {
            config: self.config.clone(),
            ..CommonArguments::default()
        }
    }
}

/// Who changes the registry, and why.
#[derive(Args)]
pub struct By {
    /// Reason for the change, recorded in the registry log.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who makes the change, recorded in the registry log [default: the user's name].
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// Private key that signs the change, made by `ortus key generate`.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Operator API of a server to notify at once; may be repeated [default: all servers of the fleet].
    #[arg(long, value_name = "ADDR:PORT")]
    pub nudge: Vec<String>,
}

#[derive(Args)]
pub(crate) struct LineageArguments {
    /// Model: NAME, NAME@ALIAS or NAME:VERSION.
    #[arg(required_unless_present = "prediction", conflicts_with = "prediction")]
    pub target: Option<String>,
    /// Show the version that made this captured prediction.
    #[arg(long, value_name = "ID")]
    pub prediction: Option<uuid::Uuid>,
    #[command(flatten)]
    pub common: RegistryArguments,
}

#[derive(Args)]
pub(crate) struct AuditReportArguments {
    /// Report only this model.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Start of the period: a date (UTC) or an RFC 3339 time.
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
    /// End of the period: a date (its end, UTC) or an RFC 3339 time.
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
    /// Print a self-contained HTML page instead of Markdown.
    #[arg(long, conflicts_with = "json")]
    pub html: bool,
    #[command(flatten)]
    pub common: RegistryArguments,
}

#[derive(Subcommand)]
pub(crate) enum RegistryVerb {
    /// Publish a new version of a model and print its number.
    Push(Box<PushArguments>),
    /// Download the files of a version and verify them.
    Pull {
        /// Model: NAME, NAME@ALIAS or NAME:VERSION.
        target: String,
        /// Directory to create.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// List the models of the registry.
    List {
        /// List only models with this tag.
        #[arg(long, value_name = "KEY[=VALUE]")]
        tag: Option<String>,
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// Show a model, or a version with its manifest.
    Show {
        /// Model: NAME, NAME@ALIAS or NAME:VERSION.
        target: String,
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// List every change of a model: who, when and why.
    History {
        /// Name of the model.
        name: String,
        /// Show changes up to the end of this date (UTC), or up to this time.
        #[arg(long, value_name = "DATE")]
        at: Option<String>,
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// Show the lineage of a version: data, code, parent versions and promotions.
    Lineage(LineageArguments),
    /// Export a version as an OCI image layout.
    Export {
        /// Model: NAME, NAME@ALIAS or NAME:VERSION.
        target: String,
        /// Directory to create.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// Import an exported version, or every version of a model directory.
    Import(ImportArguments),
    /// Compare two versions: signature, graph, size and metrics.
    Diff {
        /// Name of the model.
        name: String,
        /// First version or alias.
        one: String,
        /// Second version or alias.
        two: String,
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// Make a version champion, which serves requests that name no version.
    Promote(PromoteArguments),
    /// Restore the previous champion.
    Rollback(RollbackArguments),
    /// Set an alias to a version, or remove it.
    Alias(AliasArguments),
    /// Split requests that name no version by traffic weights; without weights, end the split.
    Traffic(TrafficArguments),
    /// Retire a version, so that it is no longer served.
    Retire(NameAndVersion),
    /// Tag a model (NAME) or a version (NAME:VERSION).
    Tag(TagArguments),
    /// Approve a version for promotion.
    Approve(NameAndVersion),
    /// Reject a version for promotion.
    Reject(NameAndVersion),
    /// Set the approval and signature policy of the namespace.
    Policy(PolicyArguments),
    /// Delete blobs that no version uses.
    Gc(GcArguments),
    /// List the servers of the registry and the last log entry that each applied.
    Fleet {
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// Create, trust and revoke signing keys.
    Key {
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Verify the registry, or report promotions.
    Audit {
        #[command(subcommand)]
        verb: AuditVerb,
    },
}

#[derive(Subcommand)]
pub(crate) enum KeyVerb {
    /// Create a private key and print its public key.
    Generate {
        /// File to create, readable only by its owner.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Print the public key of a private key.
    Public {
        /// Private key file.
        file: PathBuf,
    },
    /// Trust a public key on the servers whose registry.trust is this file.
    Trust {
        /// Trust file; created if it does not exist.
        file: PathBuf,
        /// Public key: ed25519:….
        key: String,
        /// Owner of the key.
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Revoke a public key permanently; versions that it signed are refused at the next load.
    Revoke {
        /// Trust file.
        file: PathBuf,
        /// Public key: ed25519:….
        key: String,
        /// Reason for the revocation.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// List the keys of a trust file.
    List {
        /// Trust file.
        file: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum AuditVerb {
    /// Report every promotion in a period as Markdown or HTML.
    Report(AuditReportArguments),
    /// Read the whole registry and report the first object that does not match its digest.
    Verify {
        #[command(flatten)]
        common: RegistryArguments,
    },
}

/// Reads NAME, NAME@ALIAS or NAME:VERSION.
pub(crate) fn split_target(target: &str) -> Result<(ModelName, Option<String>)> {
    match target.split_once(['@', ':']) {
        Some((_, "")) => Err(Error::invalid(
            "the model must be NAME, NAME@ALIAS or NAME:VERSION; nothing follows the name",
        )),
        Some((name, which)) => Ok((ModelName::parse(name)?, Some(which.to_owned()))),
        None => Ok((ModelName::parse(target)?, None)),
    }
}

/// Reads TARGET=PERCENT.
pub(crate) fn weight(text: &str) -> Result<(String, u32)> {
    let refuse = || {
        Error::invalid(format!(
            "a traffic weight must be ALIAS=PERCENT or VERSION=PERCENT with an integer; got \"{text}\""
        ))
    };

    let (target, percent) = text.split_once('=').ok_or_else(refuse)?;
    Ok((
        target.to_owned(),
        percent
            .trim_end_matches('%')
            .parse()
            .map_err(|_| refuse())?,
    ))
}

/// Reads a date, which stands for its beginning in UTC, or an RFC 3339 time.
pub(crate) fn beginning(text: &str) -> Result<DateTime<Utc>> {
    let day = text
        .parse::<NaiveDate>()
        .ok()
        .and_then(|day| day.and_hms_opt(0, 0, 0));
    day.map_or_else(|| instant(text), |day| Ok(day.and_utc()))
}

/// Reads a date, which stands for its end in UTC, or an RFC 3339 time.
pub fn instant(text: &str) -> Result<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let day = text
        .parse::<NaiveDate>()
        .ok()
        .and_then(|day| day.checked_add_days(Days::new(1)));
    let end = day
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .map(|end| end.and_utc() - chrono::TimeDelta::milliseconds(1));
    end.ok_or_else(|| {
        Error::invalid(format!(
            "the time must be a date such as 2026-03-03 or an RFC 3339 time; got \"{text}\""
        ))
    })
}
