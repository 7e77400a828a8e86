//! Arguments of the commands that change the registry.

use super::{By, RegistryArguments};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct NameAndVersion {
    /// Name of the model.
    pub name: String,
    /// Version number or alias.
    pub version: String,
    #[command(flatten)]
    pub common: RegistryArguments,
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
    /// What explains predictions: the `explanation.bin` that ortus-trainer wrote for this model.
    #[arg(long, value_name = "FILE")]
    pub explanation: Option<PathBuf>,
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
    pub common: RegistryArguments,
    #[command(flatten)]
    pub by: By,
}

#[derive(Args)]
pub(crate) struct ImportArguments {
    /// Directory to import.
    pub path: PathBuf,
    /// Model of the directory to import; for an exported version, the name to import it as.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub common: RegistryArguments,
    #[command(flatten)]
    pub by: By,
}

#[derive(Args)]
pub(crate) struct PromoteArguments {
    #[command(flatten)]
    pub at: NameAndVersion,
    /// Promote even if the signature is incompatible with the champion.
    #[arg(long)]
    pub allow_signature_change: bool,
}

#[derive(Args)]
pub(crate) struct RollbackArguments {
    /// Name of the model.
    pub name: String,
    #[command(flatten)]
    pub common: RegistryArguments,
    #[command(flatten)]
    pub by: By,
}

#[derive(Args)]
pub(crate) struct AliasArguments {
    /// Name of the model.
    pub name: String,
    /// Alias, such as challenger or shadow.
    pub alias: String,
    /// Version number or another alias.
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    pub version: Option<String>,
    /// Remove the alias.
    #[arg(long)]
    pub remove: bool,
    #[command(flatten)]
    pub common: RegistryArguments,
    #[command(flatten)]
    pub by: By,
}

#[derive(Args)]
pub(crate) struct TrafficArguments {
    /// Name of the model.
    pub name: String,
    /// Traffic weights in percent, such as champion=90 challenger=10.
    #[arg(value_name = "ALIAS=PERCENT")]
    pub weights: Vec<String>,
    #[command(flatten)]
    pub common: RegistryArguments,
    #[command(flatten)]
    pub by: By,
}

#[derive(Args)]
pub(crate) struct TagArguments {
    /// Model: NAME, NAME@ALIAS or NAME:VERSION.
    pub target: String,
    /// Tag as KEY=VALUE, or KEY with --remove.
    pub tag: String,
    /// Remove the tag.
    #[arg(long)]
    pub remove: bool,
    #[command(flatten)]
    pub common: RegistryArguments,
    #[command(flatten)]
    pub by: By,
}

#[derive(Args)]
pub(crate) struct PolicyArguments {
    /// Approvals that a version needs before it becomes champion or receives traffic. The author of the version does not count.
    #[arg(long, value_name = "N", required_unless_present_any = ["signatures", "owners"])]
    pub approvals: Option<u32>,
    /// Signature policy for changes and versions: none, warn or require.
    #[arg(long, value_name = "WORD")]
    pub signatures: Option<String>,
    /// Public keys that may change this policy, if signatures are checked [default: the key of this change].
    #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
    pub owners: Vec<String>,
    #[command(flatten)]
    pub common: RegistryArguments,
    #[command(flatten)]
    pub by: By,
}

#[derive(Args)]
pub(crate) struct GcArguments {
    /// Print what would be deleted, and delete nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Keep blobs younger than this, by the clock of the store.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub grace: u32,
    /// Keep blobs of versions that were retired within this period.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub retain: u32,
    #[command(flatten)]
    pub common: RegistryArguments,
    #[command(flatten)]
    pub by: By,
}
