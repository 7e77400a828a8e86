//! `metrics`: the catalogue of families, and what is made from it.

use super::print::{Table, line};
use crate::core::error::{Error, Result};
use crate::observe::metrics::{Metrics, deploy};
use clap::Subcommand;

#[derive(Subcommand)]
pub(super) enum MetricsVerb {
    /// List every family with its labels and meaning.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print alerting rules for Prometheus.
    Rules,
    /// Print a dashboard for Grafana.
    Dashboard {
        /// serving or effectiveness.
        name: String,
    },
}

/// Prints one of them.
pub(super) fn metrics(verb: &MetricsVerb) -> Result<()> {
    let families = Metrics::new()?.families();
    match verb {
        MetricsVerb::List { json: true } => {
            line(&serde_json::json!({"families": families}).to_string())
        }
        MetricsVerb::List { json: false } => {
            let mut table = Table::new(&["family", "kind", "labels", "meaning"]);
            for family in &families {
                let kind = format!("{:?}", family.kind).to_lowercase();
                table.row(&[&family.name, &kind, &family.labels.join(", "), &family.help]);
            }
            table.print();
        }
        MetricsVerb::Rules => line(deploy::rules().trim_end()),
        MetricsVerb::Dashboard { name } => {
            let text = deploy::dashboard(name, &families);
            let unknown = || {
                Error::invalid(format!(
                    "no dashboard '{name}'; there are {}",
                    deploy::dashboards().join(", ")
                ))
            };
            line(text.ok_or_else(unknown)?.trim_end());
        }
    }
    Ok(())
}
