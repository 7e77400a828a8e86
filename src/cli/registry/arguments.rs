//! What the registry's commands take, and the small grammars of it.

use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use chrono::{DateTime, Days, NaiveDate, Utc};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Which registry, and how to print.
#[derive(Args)]
pub struct Common {
    /// file:///path, s3://bucket/path, gs://bucket/path or az://container/path.
    #[arg(long, value_name = "URL")]
    pub registry: Option<String>,
    /// The part of the registry [default: default].
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The configuration file [default: ./ortus.toml where there is one].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Who changes the registry, and why.
#[derive(Args)]
pub struct By {
    /// Why; kept in the log.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who; kept in the log [default: the user's name].
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// A private key of `ortus key generate` that signs the change.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The operator listener of a server to tell at once; may be repeated [default: those of the fleet].
    #[arg(long, value_name = "ADDR:PORT")]
    pub nudge: Vec<String>,
}

#[derive(Args)]
pub(crate) struct NameAndVersion {
    /// The model.
    pub name: String,
    /// The version, or an alias of it.
    pub version: String,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub by: By,
}

#[derive(Args)]
pub(crate) struct PushArguments {
    /// The model.
    pub name: String,
    /// An ONNX file, or a folder with model.onnx and what belongs to it.
    #[arg(required_unless_present = "from_mlflow")]
    pub path: Option<PathBuf>,
    /// A model that MLflow saved with the ONNX flavour, in place of PATH: brings features and lineage.
    #[arg(long, value_name = "DIR", conflicts_with = "path")]
    pub from_mlflow: Option<PathBuf>,
    /// An alias to point at the new version in the same entry.
    #[arg(long, value_name = "ALIAS")]
    pub alias: Option<String>,
    /// What monitoring compares with.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// The model card, in Markdown.
    #[arg(long, value_name = "FILE")]
    pub card: Option<PathBuf>,
    /// Inputs with the outputs they must give, in JSON.
    #[arg(long, value_name = "FILE")]
    pub golden: Option<PathBuf>,
    /// A model that says how large the errors of this one are likely to be.
    #[arg(long, value_name = "FILE")]
    pub companion: Option<PathBuf>,
    /// The names of the input's columns.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub features: Vec<String>,
    /// An SPDX expression.
    #[arg(long, value_name = "SPDX")]
    pub licence: Option<String>,
    /// A tag of this version.
    #[arg(long, value_name = "KEY=VALUE")]
    pub tag: Vec<String>,
    /// The version it was made from.
    #[arg(long, value_name = "VERSION")]
    pub parent: Option<String>,
    /// What it was made from and with: a JSON object.
    #[arg(long, value_name = "FILE")]
    pub lineage: Option<PathBuf>,
    /// Its metrics: a JSON object.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Publish although clients of the champion would break.
    #[arg(long)]
    pub allow_signature_change: bool,
    /// Publish without running the model once.
    #[arg(long)]
    pub no_probe: bool,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub by: By,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Publish a version of a model; prints its number.
    Push(Box<PushArguments>),
    /// Copy a version's files into a new folder, verified.
    Pull {
        /// NAME, NAME@ALIAS or NAME:VERSION.
        target: String,
        /// The folder to make.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// List the models of the registry.
    List {
        /// Only models with this tag.
        #[arg(long, value_name = "KEY[=VALUE]")]
        tag: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show a model, or one version and its manifest.
    Show {
        /// NAME, NAME@ALIAS or NAME:VERSION.
        target: String,
        #[command(flatten)]
        common: Common,
    },
    /// List every change of a model: who, when, why.
    History {
        /// The model.
        name: String,
        /// Only up to this date (its end, UTC) or time.
        #[arg(long, value_name = "DATE")]
        at: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show what a version was made from, back to its first ancestor, and who made it champion.
    Lineage {
        /// NAME, NAME@ALIAS or NAME:VERSION.
        #[arg(required_unless_present = "prediction", conflicts_with = "prediction")]
        target: Option<String>,
        /// The version that answered a captured prediction, by its id.
        #[arg(long, value_name = "ID")]
        prediction: Option<uuid::Uuid>,
        #[command(flatten)]
        common: Common,
    },
    /// Write a version as an OCI image layout into a new folder.
    Export {
        /// NAME, NAME@ALIAS or NAME:VERSION.
        target: String,
        /// The folder to make.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Publish a bundle of `export`, or every version of a model directory, in order.
    Import {
        /// The folder.
        path: PathBuf,
        /// Only this model of a directory; the name for a bundle.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Compare two versions: signature, graph, size, metrics.
    Diff {
        /// The model.
        name: String,
        /// The version before, or an alias.
        one: String,
        /// The version after, or an alias.
        two: String,
        #[command(flatten)]
        common: Common,
    },
    /// Make a version champion: it serves whoever names no version.
    Promote {
        #[command(flatten)]
        at: NameAndVersion,
        /// Promote although clients of the champion would break.
        #[arg(long)]
        allow_signature_change: bool,
    },
    /// Go back to the champion before.
    Rollback {
        /// The model.
        name: String,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Point an alias at a version, or remove it.
    Alias {
        /// The model.
        name: String,
        /// The alias, such as challenger or shadow.
        alias: String,
        /// The version, or another alias.
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
    /// Split the requests that name no version, in percent; without weights, end the split.
    Traffic {
        /// The model.
        name: String,
        /// Such as champion=90 challenger=10.
        #[arg(value_name = "ALIAS=PERCENT")]
        weights: Vec<String>,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Take a version out of use.
    Retire(NameAndVersion),
    /// Tag a model (NAME) or a version (NAME:VERSION).
    Tag {
        /// NAME, NAME@ALIAS or NAME:VERSION.
        target: String,
        /// KEY=VALUE, or KEY with --remove.
        tag: String,
        /// Remove the tag.
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Say that a version may become champion.
    Approve(NameAndVersion),
    /// Say that a version may not become champion.
    Reject(NameAndVersion),
    /// Set what the namespace asks for.
    Policy {
        /// Approvals by others than who pushed a version, before it is champion or has a share of the traffic.
        #[arg(long, value_name = "N", required_unless_present_any = ["signatures", "owners"])]
        approvals: Option<u32>,
        /// What is asked of every change and version: none, warn or require.
        #[arg(long, value_name = "WORD")]
        signatures: Option<String>,
        /// The public keys that may change this, where signatures are asked for [default: the one that asks].
        #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
        owners: Vec<String>,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Delete blobs that no version in use names.
    Gc {
        /// Only say what would be deleted.
        #[arg(long)]
        dry_run: bool,
        /// Leave blobs alone that are younger, by the store's clock.
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        grace: u32,
        /// Keep the blobs of versions retired less long ago.
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        retain: u32,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// List the servers that follow the registry, and how far each is.
    Fleet {
        #[command(flatten)]
        common: Common,
    },
    /// Make, trust and revoke signing keys. To rotate: trust the new one, sign with it, revoke the old one.
    Key {
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Verify the registry.
    Audit {
        #[command(subcommand)]
        verb: AuditVerb,
    },
}

#[derive(Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a private key; prints its public key.
    Generate {
        /// The file to make, readable by its owner alone.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Print the public key of a private key.
    Public {
        /// A file of `ortus key generate`.
        file: PathBuf,
    },
    /// Trust a public key: servers whose registry.trust is this file take what it signed.
    Trust {
        /// The trust file; made where it is not there.
        file: PathBuf,
        /// ed25519:…
        key: String,
        /// Whose it is.
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Revoke a public key for good: what it signed is refused at the next load.
    Revoke {
        /// The trust file.
        file: PathBuf,
        /// ed25519:…
        key: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// List the keys of a trust file.
    List {
        /// The trust file.
        file: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum AuditVerb {
    /// Print every change of champion in a period, for a person.
    Report {
        /// Only this model.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// From this date or time on.
        #[arg(long, value_name = "DATE")]
        since: Option<String>,
        /// Up to this date (its end, UTC) or time.
        #[arg(long, value_name = "DATE")]
        until: Option<String>,
        /// Print one self-contained HTML page in place of Markdown.
        #[arg(long, conflicts_with = "json")]
        html: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Read everything; name the first object that is not what the log says.
    Verify {
        #[command(flatten)]
        common: Common,
    },
}

/// Reads NAME, NAME@ALIAS or NAME:VERSION.
pub(crate) fn split_target(target: &str) -> Result<(ModelName, Option<String>)> {
    match target.split_once(['@', ':']) {
        Some((_, "")) => Err(Error::invalid(
            "nothing follows the model's name; it is NAME, NAME@ALIAS or NAME:VERSION",
        )),
        Some((name, which)) => Ok((ModelName::parse(name)?, Some(which.to_owned()))),
        None => Ok((ModelName::parse(target)?, None)),
    }
}

/// Reads TARGET=PERCENT.
pub(crate) fn weight(text: &str) -> Result<(String, u32)> {
    let refuse = || Error::invalid(format!("{text} is not ALIAS=PERCENT with a whole percent"));
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
            "{text} is neither a date such as 2026-03-03 nor an RFC 3339 time"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_weights_and_dates_are_read_or_refused() {
        let read = |t: &str| {
            split_target(t)
                .map(|(name, which)| (name.to_string(), which))
                .ok()
        };
        assert_eq!(read("fraud"), Some(("fraud".into(), None)));
        assert_eq!(
            read("fraud@champion"),
            Some(("fraud".into(), Some("champion".into())))
        );
        assert_eq!(read("fraud:7"), Some(("fraud".into(), Some("7".into()))));
        assert_eq!((read("fraud:"), read("../x"), read("")), (None, None, None));
        assert_eq!(weight("champion=90").ok(), Some(("champion".into(), 90)));
        assert_eq!(weight("7=10%").ok(), Some(("7".into(), 10)));
        assert!(
            weight("champion").is_err()
                && weight("champion=-1").is_err()
                && weight("a=1.5").is_err()
        );
        assert_eq!(
            instant("2026-03-03")
                .map(|t| t.to_rfc3339())
                .ok()
                .as_deref(),
            Some("2026-03-03T23:59:59.999+00:00")
        );
        assert_eq!(
            instant("2026-03-03T12:00:00+02:00")
                .map(|t| t.to_rfc3339())
                .ok()
                .as_deref(),
            Some("2026-03-03T10:00:00+00:00")
        );
        assert!(instant("yesterday").is_err());
    }
}
