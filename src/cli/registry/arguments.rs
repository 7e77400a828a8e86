//! Arguments of the registry's commands, and how targets, weights and times are read.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use chrono::{DateTime, Days, NaiveDate, Utc};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Which registry, and how to print.
#[derive(Args)]
pub struct Common {
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
pub(crate) struct NameAndVersion {
    /// Name of the model.
    pub name: String,
    /// Version number or alias.
    pub version: String,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub by: By,
}

#[derive(Args)]
pub(crate) struct PushArguments {
    /// Name of the model.
    pub name: String,
    /// ONNX file, or directory with model.onnx and its other files.
    #[arg(required_unless_present = "from_mlflow")]
    pub path: Option<PathBuf>,
    /// MLflow model of the ONNX flavour, instead of PATH. Feature names and lineage are imported.
    #[arg(long, value_name = "DIR", conflicts_with = "path")]
    pub from_mlflow: Option<PathBuf>,
    /// Alias that is set to the new version in the same change.
    #[arg(long, value_name = "ALIAS")]
    pub alias: Option<String>,
    /// Baseline for drift monitoring, made by `ortus profile`.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Model card in Markdown.
    #[arg(long, value_name = "FILE")]
    pub card: Option<PathBuf>,
    /// Golden rows: inputs with expected outputs, in JSON.
    #[arg(long, value_name = "FILE")]
    pub golden: Option<PathBuf>,
    /// Companion model: an ONNX model that predicts the error of this regression model.
    #[arg(long, value_name = "FILE")]
    pub companion: Option<PathBuf>,
    /// Names of the input columns.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub features: Vec<String>,
    /// Licence as an SPDX expression.
    #[arg(long, value_name = "SPDX")]
    pub licence: Option<String>,
    /// Tag of the version; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub tag: Vec<String>,
    /// Version from which this one was derived.
    #[arg(long, value_name = "VERSION")]
    pub parent: Option<String>,
    /// Lineage (data, code, environment) as a JSON object.
    #[arg(long, value_name = "FILE")]
    pub lineage: Option<PathBuf>,
    /// Evaluation metrics as a JSON object.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Publish even if the signature is incompatible with the champion.
    #[arg(long)]
    pub allow_signature_change: bool,
    /// Publish without a test run of the model.
    #[arg(long)]
    pub no_probe: bool,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub by: By,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
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
        common: Common,
    },
    /// List the models of the registry.
    List {
        /// List only models with this tag.
        #[arg(long, value_name = "KEY[=VALUE]")]
        tag: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show a model, or a version with its manifest.
    Show {
        /// Model: NAME, NAME@ALIAS or NAME:VERSION.
        target: String,
        #[command(flatten)]
        common: Common,
    },
    /// List every change of a model: who, when and why.
    History {
        /// Name of the model.
        name: String,
        /// Show changes up to the end of this date (UTC), or up to this time.
        #[arg(long, value_name = "DATE")]
        at: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show the lineage of a version: data, code, parent versions and promotions.
    Lineage {
        /// Model: NAME, NAME@ALIAS or NAME:VERSION.
        #[arg(required_unless_present = "prediction", conflicts_with = "prediction")]
        target: Option<String>,
        /// Show the version that made this captured prediction.
        #[arg(long, value_name = "ID")]
        prediction: Option<uuid::Uuid>,
        #[command(flatten)]
        common: Common,
    },
    /// Export a version as an OCI image layout.
    Export {
        /// Model: NAME, NAME@ALIAS or NAME:VERSION.
        target: String,
        /// Directory to create.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Import an exported version, or every version of a model directory.
    Import {
        /// Directory to import.
        path: PathBuf,
        /// Model of the directory to import; for an exported version, the name to import it as.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Compare two versions: signature, graph, size and metrics.
    Diff {
        /// Name of the model.
        name: String,
        /// First version or alias.
        one: String,
        /// Second version or alias.
        two: String,
        #[command(flatten)]
        common: Common,
    },
    /// Make a version champion, which serves requests that name no version.
    Promote {
        #[command(flatten)]
        at: NameAndVersion,
        /// Promote even if the signature is incompatible with the champion.
        #[arg(long)]
        allow_signature_change: bool,
    },
    /// Restore the previous champion.
    Rollback {
        /// Name of the model.
        name: String,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Set an alias to a version, or remove it.
    Alias {
        /// Name of the model.
        name: String,
        /// Alias, such as challenger or shadow.
        alias: String,
        /// Version number or another alias.
        #[arg(required_unless_present = "remove", conflicts_with = "remove")]
        version: Option<String>,
        /// Remove the alias.
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Split requests that name no version by traffic weights; without weights, end the split.
    Traffic {
        /// Name of the model.
        name: String,
        /// Traffic weights in percent, such as champion=90 challenger=10.
        #[arg(value_name = "ALIAS=PERCENT")]
        weights: Vec<String>,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Retire a version, so that it is no longer served.
    Retire(NameAndVersion),
    /// Tag a model (NAME) or a version (NAME:VERSION).
    Tag {
        /// Model: NAME, NAME@ALIAS or NAME:VERSION.
        target: String,
        /// Tag as KEY=VALUE, or KEY with --remove.
        tag: String,
        /// Remove the tag.
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Approve a version for promotion.
    Approve(NameAndVersion),
    /// Reject a version for promotion.
    Reject(NameAndVersion),
    /// Set the approval and signature policy of the namespace.
    Policy {
        /// Approvals that a version needs before it becomes champion or receives traffic. The author of the version does not count.
        #[arg(long, value_name = "N", required_unless_present_any = ["signatures", "owners"])]
        approvals: Option<u32>,
        /// Signature policy for changes and versions: none, warn or require.
        #[arg(long, value_name = "WORD")]
        signatures: Option<String>,
        /// Public keys that may change this policy, if signatures are checked [default: the key of this change].
        #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
        owners: Vec<String>,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Delete blobs that no version uses.
    Gc {
        /// Print what would be deleted, and delete nothing.
        #[arg(long)]
        dry_run: bool,
        /// Keep blobs younger than this, by the clock of the store.
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        grace: u32,
        /// Keep blobs of versions that were retired within this period.
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        retain: u32,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// List the servers of the registry and the last log entry that each applied.
    Fleet {
        #[command(flatten)]
        common: Common,
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
    Report {
        /// Report only this model.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// Start of the period: a date (UTC) or an RFC 3339 time.
        #[arg(long, value_name = "DATE")]
        since: Option<String>,
        /// End of the period: a date (its end, UTC) or an RFC 3339 time.
        #[arg(long, value_name = "DATE")]
        until: Option<String>,
        /// Print a self-contained HTML page instead of Markdown.
        #[arg(long, conflicts_with = "json")]
        html: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Read the whole registry and report the first object that does not match its digest.
    Verify {
        #[command(flatten)]
        common: Common,
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
