//! The commands `init` and `plan`: a first specification, and what a run would do.

use super::setup::seen_by;
use crate::data::Reach;
use crate::pipeline::{self, RunPlan};
use crate::spec::Spec;
use ortus::cli::print::line;
use ortus::cli::registry::arguments::RegistryArguments;
use ortus::cli::registry::open;
use ortus::cli::{block_on, monitor};
use ortus::core::count::counted;
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

/// Shows what a run would do.
pub(super) async fn plan(path: &Path, common: &RegistryArguments) -> Result<()> {
    let spec = Spec::read(path)?;
    let mut reach = Reach::files();
    if spec.has_seen() {
        reach.records = Some(seen_by(common, &open(common, None, false).await?)?);
    }

    let plan = pipeline::plan(&spec, &reach).await?;
    if common.json {
        let text = serde_json::to_string(&plan);
        line(&text.map_err(|e| Error::internal("write the plan").with_source(e))?);
    } else {
        print(&plan);
    }
    Ok(())
}

fn print(plan: &RunPlan) {
    line(&format!("run {}", plan.run));
    line(&format!(
        "{} of {}, {}",
        counted(plan.data.rows, "row"),
        plan.model,
        plan.data_digest
    ));
    for source in &plan.data.sources {
        let files = source.files.len();
        line(&format!(
            "  source {}: {}",
            source.name,
            counted(files, "file")
        ));
    }
    line(&format!(
        "predicts '{}' ({}) by {}",
        plan.target, plan.task, plan.algorithm
    ));

    let split = &plan.split;
    line(&format!(
        "split by {}: {} training, {} stopping and {} test rows; {} unused",
        split.by, split.train, split.stop, split.test, split.left_out
    ));
    for note in &plan.notes {
        line(&format!("note: {note}"));
    }
}
