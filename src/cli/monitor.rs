//! `ortus profile` builds a baseline on this machine. Also asks a running server for its reports.

use super::load;
use super::model_file::ModelArguments;
use super::print::{line, note};
use super::registry::RegistryArguments as RegistryCommon;
use super::text_format::FormatArguments;
use crate::client;
use crate::core::count::counted;
use crate::core::error::{Error, Result};
use crate::core::model::task::{TaskKind, Wish};
use crate::observe::drift::notes::notes;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::drift::slice::choice::SliceChoice;
use crate::observe::profile::Profile;
use bytes::Bytes;
use clap::Args;
use http::Method;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct ProfileArguments {
    /// Reference dataset: CSV with a header, or Parquet.
    data: PathBuf,
    #[command(flatten)]
    model: ModelArguments,
    /// File to write the baseline to.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Label column (ground truth). Adds measured performance and calibration to the baseline.
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Task of the model, if it cannot be detected from the graph.
    #[arg(long, requires = "label")]
    task: Option<TaskArgument>,
    /// Output that holds the scores, or the predicted value.
    #[arg(long, value_name = "OUTPUT", requires = "label")]
    score_output: Option<String>,
    /// Class names in the order of their scores.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', requires = "label")]
    classes: Vec<String>,
    /// Columns of the dataset to ignore.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    ignore: Vec<String>,
    /// Input columns by which the rows are sliced: each category or quarter of numbers with at least 200
    /// rows is also watched on its own; at most 4 [default: up to two of few categories]
    #[arg(
        long,
        value_name = "A,B,…",
        value_delimiter = ',',
        conflicts_with = "no_slices"
    )]
    slices: Vec<String>,
    /// Do not slice the rows.
    #[arg(long)]
    no_slices: bool,
    #[command(flatten)]
    format: FormatArguments,
    #[command(flatten)]
    common: RegistryCommon,
}

/// A task whose predictions can have labels.
#[derive(Clone, Copy, clap::ValueEnum)]
enum TaskArgument {
    Classification,
    Regression,
}

/// Builds a baseline.
pub(super) fn profile(arguments: &ProfileArguments) -> Result<()> {
    let model = arguments.model.find(&arguments.common)?;
    let config = load(&arguments.common.file(), Vec::new())?;

    let (graph, mut session) = crate::app::engine::open_session(&config, &model.path, &note)?;
    let profile = Profile {
        data: &arguments.data,
        format: arguments.format.read()?,
        features: model.features.clone(),
        ignore: arguments.ignore.clone(),
        label: arguments.label.clone(),
        task: Wish {
            kind: arguments.task.map(|task| match task {
                TaskArgument::Classification => TaskKind::Classification,
                TaskArgument::Regression => TaskKind::Regression,
            }),
            output: arguments.score_output.clone(),
            classes: arguments.classes.clone(),
        },
        slices: match (&arguments.slices[..], arguments.no_slices) {
            ([], false) => SliceChoice::Fitting,
            (named, _) => SliceChoice::Named(named.to_vec()),
        },
    };

    let baseline = profile.make(&graph, session.as_mut())?;
    write(&arguments.output, &baseline.write())?;
    let text = format!(
        "{}: {}, {}, {}",
        arguments.output.display(),
        counted(baseline.rows, "row"),
        counted(baseline.inputs.len(), "input"),
        counted(baseline.outputs.len(), "output")
    );

    let json = serde_json::json!({
        "path": arguments.output, "rows": baseline.rows, "performance": baseline.performance,
        "inputs": baseline.inputs.iter().map(|c| &c.name).collect::<Vec<_>>(),
        "outputs": baseline.outputs.iter().map(|c| &c.name).collect::<Vec<_>>(),
    });

    if arguments.common.json {
        line(&json.to_string());
        return Ok(());
    }
    line(&text);
    let notes = notes(&baseline, &MonitorSettings::default());
    notes.iter().for_each(|text| line(text));

    Ok(())
}

/// Writes a file. An existing file is replaced.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)
        .map_err(|e| Error::precondition(format!("write {}", path.display())).with_source(e))
}

/// Requests a path of the operator API, and returns the body of the response.
pub(super) async fn ask(server: &str, path: &str) -> Result<Bytes> {
    let mut http = client::Http::connect(server).await?;
    let (status, _, body) = http.send(Method::GET, path, Bytes::new()).await?;
    if status.is_success() {
        Ok(body)
    } else {
        Err(elsewhere(client::refusal(status, &body)))
    }
}

/// Says what is likely where another listener answered.
fn elsewhere(mut error: Error) -> Error {
    // The TensorFlow Serving API has paths that begin in the same way.
    if error.message.contains("the path is not one of") {
        error
            .message
            .push_str("; give the address of the operator API (port 8003 unless it is set)");
    }
    error
}

/// Reads a report of a server.
pub(super) fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| {
        Error::internal("the server's response is not a report that this version of Ortus can read")
            .with_source(e)
    })
}
