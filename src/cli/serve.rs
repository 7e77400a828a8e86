//! `ortus serve`: starts a server from arguments and the configuration.

use super::print::{line, note};
use super::{CommonArguments, load, text};
use crate::app::App;
use crate::app::signals::Signals;
use crate::core::count::{agreed, counted};
use crate::core::error::{Error, Result};
use crate::observe::logging;
use crate::registry::pbtxt::monitoring;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args, Default)]
pub(super) struct Serve {
    /// Model file, or model directory laid out as NAME/VERSION/model.onnx or NAME/model.onnx.
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Model directory, like PATH.
    #[arg(long, value_name = "DIR", conflicts_with = "path")]
    models: Option<PathBuf>,
    /// List of models in TensorFlow Serving's text format.
    #[arg(long = "model_config_file", alias = "model-config-file", value_name = "FILE", conflicts_with_all = ["models", "path", "name"])]
    model_config_file: Option<PathBuf>,
    /// Where metrics are on the HTTP listener, in TensorFlow Serving's text format.
    #[arg(
        long = "monitoring_config_file",
        alias = "monitoring-config-file",
        value_name = "FILE"
    )]
    monitoring_config_file: Option<PathBuf>,
    /// Name of the model: PATH is the folder of this one model, or its file.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Registry to serve from: file:///path, s3://bucket/path, gs://… or az://….
    #[arg(long, value_name = "URL", conflicts_with_all = ["models", "path", "name"])]
    registry: Option<String>,
    /// Namespace of the registry [default: default].
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Model of the registry to serve; may be repeated [default: all].
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Directory for verified copies of registry versions.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Address of the HTTP listener [default: 0.0.0.0:8000].
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<String>,
    /// Address of the gRPC listener [default: 0.0.0.0:8001].
    #[arg(long, value_name = "ADDR:PORT")]
    grpc: Option<String>,
    /// Address of the metrics and health listener [default: 0.0.0.0:8002].
    #[arg(long, value_name = "ADDR:PORT")]
    ops: Option<String>,
    /// Address of the operator API [default: 127.0.0.1:8003].
    #[arg(long, value_name = "ADDR:PORT")]
    operator: Option<String>,
    /// Follow the habits of another server: none or triton [default: none].
    #[arg(long, value_name = "SERVER")]
    compat: Option<String>,
    /// What triggers loading: none, poll or explicit [default: poll].
    #[arg(long, value_name = "MODE")]
    model_control: Option<String>,
    /// Write the bound addresses to this file as JSON.
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

/// Serves until a signal.
pub(super) fn serve(arguments: &Serve) -> Result<ExitCode> {
    // Before anything that takes time: a signal must not kill the process.
    let signals = Signals::install()?;
    let config = load(&arguments.common, flags(arguments)?)?;
    logging::start(&config.log.level, config.log.format)?;
    let app = App::start(&config, signals, &note)?;
    let ports = app.ports;
    tracing::info!(library = %app.library.display(), "ONNX Runtime loaded");
    if let Some(file) = &config.server.ports_file {
        let json = serde_json::to_vec(&ports)
            .map_err(|e| Error::internal("serialize the bound addresses").with_source(e))?;
        std::fs::write(file, json).map_err(|e| {
            Error::precondition("write the file that server.ports_file names").with_source(e)
        })?;
    }

    if !app.is_asked_to_stop() {
        app.warn_of_unmatched(&config);
        print_start(&app);
        app.wait_for_signal();
    }
    app.stop()?;
    Ok(ExitCode::SUCCESS)
}

/// The settings that arguments stand for.
fn flags(arguments: &Serve) -> Result<Vec<(String, toml::Value)>> {
    let mut flags = Vec::new();
    let mut put =
        |key: &str, value: Option<String>| flags.extend(value.map(|v| (key.to_owned(), text(v))));
    put(
        "models.directory",
        arguments
            .path
            .as_ref()
            .or(arguments.models.as_ref())
            .map(|p| p.display().to_string()),
    );
    put("models.name", arguments.name.clone());
    let shown = |path: &PathBuf| path.display().to_string();
    put(
        "models.config_file",
        arguments.model_config_file.as_ref().map(shown),
    );
    if let Some(path) = arguments
        .monitoring_config_file
        .as_deref()
        .map(monitoring)
        .transpose()?
    {
        put("server.metrics_path", path);
        put("server.metric_aliases", Some("tensorflow".to_owned()));
    }

    put("registry.url", arguments.registry.clone());
    put("registry.namespace", arguments.namespace.clone());
    put(
        "registry.cache",
        arguments.cache.as_ref().map(|p| p.display().to_string()),
    );
    put("server.http", arguments.http.clone());
    put("server.grpc", arguments.grpc.clone());
    put("server.ops", arguments.ops.clone());
    put("server.operator", arguments.operator.clone());
    put(
        "server.ports_file",
        arguments
            .ports_file
            .as_ref()
            .map(|p| p.display().to_string()),
    );

    put("server.compat", arguments.compat.clone());
    put("models.control", arguments.model_control.clone());
    if !arguments.model.is_empty() {
        flags.push((
            "registry.models".to_owned(),
            toml::Value::Array(arguments.model.iter().map(text).collect()),
        ));
    }
    Ok(flags)
}

/// Reads where metrics are to be served.
fn monitoring(file: &Path) -> Result<Option<String>> {
    let within = |e: Error| e.context(format!("'{}'", file.display()));
    let text = std::fs::read_to_string(file)
        .map_err(|e| within(Error::invalid(e.to_string()).with_source(e)))?;
    monitoring::read(&text).map_err(within)
}

/// Prints what serves and where, in one line.
fn print_start(app: &App) {
    let (serving, refused) = app.count_serving_and_refused();
    let ports = app.ports;
    let readiness = if app.is_ready() { "ready" } else { "not ready" };
    let unserved = match app.count_unserved() {
        0 => String::new(),
        count => format!(", {count} not served"),
    };
    line(&format!(
        "{readiness}: {} {}, {} refused{unserved}; http {} grpc {} ops {} operator {}",
        counted(serving, "version"),
        agreed(serving, "serves", "serve"),
        refused.len(),
        ports.http,
        ports.grpc,
        ports.ops,
        ports.operator
    ));
}
