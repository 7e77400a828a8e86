//! The commands `init` and `plan`: a first specification, and what a run would do.

use super::setup::seen_by;
use crate::data::Reach;
use crate::init::{InitRequest, page, show};
use crate::pipeline::{self, RunPlan};
use crate::spec::Spec;
use crate::spec::capture_source::CaptureSource;
use clap::Args;
use ortus::cli::monitor;
use ortus::cli::print::line;
use ortus::cli::registry::arguments::RegistryArguments;
use ortus::cli::registry::open;
use ortus::core::count::counted;
use ortus::core::error::{Error, Result};
use ortus::storage::table::text::format::TextFormat;
use std::path::{Path, PathBuf};

/// What `init` is asked for.
#[derive(Args)]
pub(crate) struct InitArguments {
    /// A file or folder of Parquet, CSV or JSON lines files; or capture:MODEL?days=N.
    data: PathBuf,
    /// The column to predict.
    #[arg(long, value_name = "COLUMN")]
    target: String,
    /// The file to write.
    #[arg(short, long, value_name = "FILE", default_value = "train.toml")]
    output: PathBuf,
    /// Overwrite the file if it exists.
    #[arg(long)]
    force: bool,
    /// A query over the data, the table `rows`, such as 'SELECT *, arr_delay > 15 AS late FROM rows'.
    #[arg(long, value_name = "SQL")]
    sql: Option<String>,
    /// How text files are written, where it is not found: '{ delimiter = ";", missing = ["-999"] }'.
    #[arg(long, value_name = "TOML")]
    format: Option<String>,
    /// Write what was understood of the data to this page too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    common: RegistryArguments,
}

/// Writes a first specification, and shows what was understood of the data.
pub(super) async fn init(arguments: &InitArguments) -> Result<()> {
    let InitArguments {
        data,
        output,
        common,
        ..
    } = arguments;
    if output.exists() && !arguments.force {
        return Err(Error::invalid(format!(
            "{} exists already; choose another file with --output, or overwrite it with --force",
            output.display()
        )));
    }

    let mut reach = Reach::files();
    let at = data.to_string_lossy().into_owned();
    let is_captured = CaptureSource::parse(&at)?.is_some();
    if is_captured {
        reach.records = Some(seen_by(common, &open(common, None, false).await?)?);
    }
    // Paths are relative to the file that names them.
    let is_here = output
        .parent()
        .is_none_or(|folder| folder.as_os_str().is_empty());
    let unreadable =
        |e| Error::invalid(format!("{} cannot be read", data.display())).with_source(e);
    let at = match is_here || is_captured {
        true => at,
        false => {
            let whole = data.canonicalize().map_err(unreadable)?;
            whole.to_string_lossy().into_owned()
        }
    };

    let request = InitRequest {
        at,
        target: arguments.target.clone(),
        sql: arguments.sql.clone(),
        format: arguments.format.as_deref().map(format).transpose()?,
    };
    let first = crate::init::init(&request, &reach).await?;
    monitor::write(output, first.text.as_bytes())?;
    // The file is checked as any other specification.
    Spec::read(output)?;
    if let Some(page) = &arguments.html {
        monitor::write(page, page::render(&first.understood).as_bytes())?;
    }
    if common.json {
        let text = serde_json::to_string(&first.understood);
        line(&text.map_err(|e| Error::internal("write what was understood").with_source(e))?);
        return Ok(());
    }
    show::print(&first.understood);
    line(&format!("wrote {}", output.display()));
    Ok(())
}

/// Reads the format of text files.
fn format(text: &str) -> Result<TextFormat> {
    let wrong = |why: &str| Error::invalid(format!("--format: {}", why.trim_end()));
    let table: toml::Table =
        toml::from_str(&format!("format = {text}")).map_err(|e| wrong(e.message()))?;
    let format = table.get("format").cloned();
    let format = format.ok_or_else(|| wrong("it must be a table of settings"))?;
    let format: TextFormat = format
        .try_into()
        .map_err(|e: toml::de::Error| wrong(e.message()))?;
    format.check().map_err(|e| wrong(&e.message))?;
    Ok(format)
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
    let objective = plan.objective;
    let objective = objective.map_or_else(String::new, |word| format!(", objective {word}"));
    line(&format!(
        "predicts '{}' ({}{objective}) by {}",
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
