//! `ortus report`: writes the HTML report of a served model.

use super::print::line;
use super::registry::split_target;
use super::{block_on, monitor};
use crate::core::error::{Error, Result};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct ReportArguments {
    /// Model: NAME or NAME:VERSION.
    target: String,
    /// Period that the charts cover: an integer and h, d or w, such as 7d.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = hours)]
    window: u64,
    /// HTML file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Address of the operator API of a running server.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8003")]
    server: String,
}

fn hours(text: &str) -> Result<u64, String> {
    let wrong = || "must be an integer and h, d or w, such as 7d".to_owned();
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "h" => 1,
        "d" => 24,
        "w" => 7 * 24,
        _ => return Err(wrong()),
    };

    number
        .checked_mul(unit)
        .filter(|n| (1..=24 * 366).contains(n))
        .ok_or_else(wrong)
}

/// Writes the report.
pub(super) fn report(arguments: &ReportArguments) -> Result<()> {
    let (name, version) = split_target(&arguments.target)?;
    let version = version.map_or_else(String::new, |v| format!("&version={v}"));
    let path = format!(
        "/v1/models/{name}/report?hours={}{version}",
        arguments.window
    );
    let body = block_on(monitor::ask(&arguments.server, &path))?;
    let page = crate::observe::report::render(&monitor::read(&body)?);
    let output = &arguments.output;
    std::fs::write(output, page)
        .map_err(|e| Error::precondition(format!("write {}", output.display())).with_source(e))?;
    line(&output.display().to_string());
    Ok(())
}
