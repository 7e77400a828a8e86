//! The commands `init` and `plan`: a first specification, and what a run would do.

use super::setup::seen_by;
use crate::data::Reach;
use crate::pipeline;
use crate::spec::Spec;
use ortus::cli::print::line;
use ortus::cli::registry::arguments::Common;
use ortus::cli::registry::open;
use ortus::cli::{block_on, monitor};
use ortus::core::error::{Error, Result};
use std::path::Path;

/// Writes a first specification from the columns of the data.
pub(super) fn init(data: &Path, target: &str, output: &Path) -> Result<()> {
    if output.exists() {
        return Err(Error::invalid(format!(
            "{} exists already; choose another file with --output",
            output.display()
        )));
    }

    // Paths are relative to the file that names them.
    let is_here = output
        .parent()
        .is_none_or(|folder| folder.as_os_str().is_empty());
    let unreadable =
        |e| Error::invalid(format!("{} cannot be read", data.display())).with_source(e);
    let data = if is_here {
        data.to_owned()
    } else {
        data.canonicalize().map_err(unreadable)?
    };

    let text = block_on(crate::init::init(&data, target))?;
    monitor::write(output, text.as_bytes())?;
    // The file is checked as any other specification.
    Spec::read(output)?;
    line(&output.display().to_string());
    Ok(())
}

pub(super) async fn plan(path: &Path, common: &Common) -> Result<()> {
    let spec = Spec::read(path)?;
    let mut reach = Reach::files();
    if spec.has_seen() {
        reach.records = Some(seen_by(common, &open(common, None, false).await?)?);
    }
    let planned = pipeline::plan(&spec, &reach).await?;
    if common.json {
        line(&planned.to_string());
        return Ok(());
    }
    let say = |pointer: &str| match planned.pointer(pointer) {
        Some(serde_json::Value::String(word)) => word.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    };

    line(&format!("run {}", say("/run")));
    line(&format!(
        "{} rows of {}, {}",
        say("/data/rows"),
        say("/model"),
        say("/data_digest")
    ));

    for source in planned["data"]["sources"].as_array().into_iter().flatten() {
        let files = source["files"].as_array().map_or(0, Vec::len);
        line(&format!(
            "  source {}: {files} files",
            source["name"].as_str().unwrap_or_default()
        ));
    }

    line(&format!(
        "predicts '{}' ({}) by {}",
        say("/target"),
        say("/task"),
        say("/algorithm")
    ));

    line(&format!(
        "split by {}: {} training, {} stopping and {} test rows; {} unused",
        say("/split/by"),
        say("/split/train"),
        say("/split/stop"),
        say("/split/test"),
        say("/split/left_out")
    ));

    for text in planned["notes"].as_array().into_iter().flatten() {
        line(&format!("note: {}", text.as_str().unwrap_or_default()));
    }
    Ok(())
}
