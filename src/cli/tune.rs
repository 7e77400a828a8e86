//! `ortus tune`: measures a model file with different settings on this machine, and prints the
//! settings to paste.

#[cfg(test)]
mod tests;

use super::print::{TextTable, figures, line, note};
use super::{CommonArguments, load};
use crate::api::oip::json as oip_json;
use crate::api::oip::shared_memory::Regions;
use crate::app::engine::OpenedFile;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Signature, Version};
use crate::core::settings::form;
use crate::core::spread::cores;
use crate::core::tensor::Tensor;
use crate::onnx::batchability::SampleInputs;
use crate::onnx::rows::{self, RowVerdict};
use crate::onnx::runtime::Engine;
use crate::serve::settings::{Batching, Model};
use crate::serve::tuning::{self, LaneThreads, TuneChoice, TuneInputs, TunePoint, TuneSubject};
use clap::Args;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest bar of the chart.
const BAR: usize = 24;

#[derive(Args)]
pub(super) struct TuneArguments {
    /// Model file, or folder of a model or a version.
    model: PathBuf,
    /// Longest time for an answer under full load, such as 20ms: batches are limited to what keeps it.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    slo: Option<Duration>,
    /// Inference request in the JSON of the Open Inference Protocol whose rows are run [default:
    /// generated rows].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// About how long to measure.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    time: Duration,
    /// Cores for lanes times threads, on the CPU [default: all that this process may use].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    cores: Option<u16>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: CommonArguments,
}

/// Measures a model and prints what is best.
pub(super) fn tune(arguments: &TuneArguments) -> Result<()> {
    let config = load(&arguments.common, Vec::new())?;
    let path = model_file(&arguments.model)?;
    let name = model_name(&path);
    let settings = crate::app::settings::of_model(&config, &name);
    let file = OpenedFile::read(&config, &path, &note)?;

    let signature = &file.graph.signature;
    let unmerged = unmerged(&file, &settings);
    let rows_max = unmerged
        .as_ref()
        .map_or(settings.batch_rows_max as usize, |_| 1);
    let options = settings.session_options();
    let mut session = file.engine.open(&file.source, &options)?;
    let inputs = match &arguments.file {
        Some(request) => given(signature, request)?,
        None => TuneInputs::Generated(SampleInputs::find(signature, session.as_mut())?),
    };
    let provider = session.provider();
    drop(session);

    if !arguments.json {
        say_what_is_run(signature, &inputs, unmerged.as_deref());
    }
    let subject = TuneSubject {
        engine: &file.engine,
        source: &file.source,
        options,
        inputs,
        provider,
        cores: tuned_cores(arguments.cores)?,
        rows_max,
        time: arguments.time,
        slo: arguments.slo,
    };
    let points = tuning::measure(&subject, &|_| {})?;
    let default = tuning::candidates(provider, subject.cores)[0];
    let choice = tuning::choose(&points, default, arguments.slo)
        .ok_or_else(|| Error::internal("nothing was measured"))?;
    print(arguments, &name, &points, &choice);
    Ok(())
}

/// The cores to measure with: as given, of those that there are.
fn tuned_cores(given: Option<u16>) -> Result<usize> {
    let (given, all) = (given.map(usize::from), cores());
    match given {
        Some(given) if given > all => Err(Error::invalid(format!(
            "--cores is {given}; this process may use {all}"
        ))),
        _ => Ok(given.unwrap_or(all)),
    }
}

/// Reads a duration in the form of the configuration.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = form::duration(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "not a duration over zero; write 20ms, 5s or 1m".to_owned())
}

/// Finds the model file of a folder: of a version, or of the highest version of a model.
fn model_file(path: &Path) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let unreadable = |e| {
        let what = format!(
            "{} cannot be read as a model file or folder",
            path.display()
        );
        Error::invalid(what).with_source(e)
    };
    let direct = path.join("model.onnx");
    if direct.is_file() {
        return Ok(direct);
    }

    let mut newest: Option<(Version, PathBuf)> = None;
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let version = entry
            .file_name()
            .to_str()
            .and_then(|n| Version::parse(n).ok());
        let file = entry.path().join("model.onnx");
        if let Some(version) = version.filter(|_| file.is_file())
            && newest
                .as_ref()
                .is_none_or(|(highest, _)| version > *highest)
        {
            newest = Some((version, file));
        }
    }
    let newest = newest.map(|(_, file)| file);
    newest.ok_or_else(|| {
        Error::invalid(format!(
            "{} has neither model.onnx nor a version folder with it; give a model file",
            path.display()
        ))
    })
}

/// The name of a model whose file is NAME/VERSION/model.onnx; else the file's or the folder's own.
fn model_name(path: &Path) -> ModelName {
    let find = || {
        let path = path.canonicalize().ok()?;
        let version = path.parent()?;
        let is_version = Version::parse(version.file_name()?.to_str()?).is_ok();
        let name = match is_version {
            true => version.parent()?.file_name()?,
            false if path.file_stem()? == "model" => version.file_name()?,
            false => path.file_stem()?,
        };
        ModelName::parse(name.to_str()?).ok()
    };
    find().unwrap_or_else(|| ModelName::parse("NAME").expect("a legal name"))
}

/// Why requests of a model are not merged; none if they are, or if a test at load decides.
fn unmerged(file: &OpenedFile, settings: &Model) -> Option<String> {
    if settings.batching == Batching::Off {
        return Some("batching is off in the configuration".to_owned());
    }
    let fixed = file.graph.signature.why_unsplit();
    fixed.or_else(|| match rows::analyse(&file.source.bytes) {
        RowVerdict::Dependent(finding) => Some(format!("the rows of a batch mix: {finding}")),
        RowVerdict::Independent | RowVerdict::Unknown(_) => None,
    })
}

/// Reads the tensors of a request.
fn given(signature: &Signature, request: &Path) -> Result<TuneInputs> {
    let body = std::fs::read(request).map_err(|e| {
        Error::invalid(format!("{} cannot be read", request.display())).with_source(e)
    })?;
    let decoded = oip_json::decode(&body.into(), None, &Regions::off());
    let inputs = decoded.map_err(|e| e.context(request.display()))?.inputs;
    let checked = signature.check(inputs)?;
    if !checked.optional.is_empty() {
        return Err(Error::invalid(
            "the request gives an optional input, which is never batched; leave it out",
        ));
    }
    let rows = checked.required.iter().filter_map(Tensor::rows).min();
    let rows = rows.filter(|rows| *rows > 0).unwrap_or(1);
    Ok(TuneInputs::Given(checked.required, rows))
}

fn say_what_is_run(signature: &Signature, inputs: &TuneInputs, unmerged: Option<&str>) {
    match inputs {
        TuneInputs::Given(_, 1) => note("runs copies of the request's row"),
        TuneInputs::Given(_, rows) => note(&format!("runs copies of the request's {rows} rows")),
        TuneInputs::Generated(_) if signature.has_fixed_inner_axes() => note("runs generated rows"),
        TuneInputs::Generated(sample) => note(&format!(
            "runs generated rows; dynamic axes other than the first have the size {}: give real rows with --file",
            sample.size()
        )),
    }
    if let Some(why) = unmerged {
        note(&format!("each request runs alone: {why}"));
    }
}

fn print(
    arguments: &TuneArguments,
    name: &ModelName,
    points: &[TunePoint],
    choice: &TuneChoice<'_>,
) {
    let toml = settings(name, choice);
    if arguments.json {
        let json = serde_json::json!({
            "points": points,
            "best": choice.point,
            "default": choice.default,
            "in_time": choice.is_in_time,
            "configuration": toml,
        });
        line(&json.to_string());
        return;
    }

    let most = points.iter().map(|p| p.rows_per_second).fold(0.0, f64::max);
    let mut table = TextTable::new(&[
        "",
        "lanes",
        "threads",
        "rows",
        "rows/s",
        "p50 ms",
        "p95 ms",
        "answer ms",
        "",
    ]);
    for point in points {
        let bar = (point.rows_per_second / most * BAR as f64).round() as usize;
        let mark = if std::ptr::eq(point, choice.point) {
            "*"
        } else {
            ""
        };
        table.row(&[
            mark,
            &point.threads.lanes.to_string(),
            &point.threads.intra_op_threads.to_string(),
            &point.rows.to_string(),
            &figures(point.rows_per_second),
            &figures(point.p50_seconds * 1e3),
            &figures(point.p95_seconds * 1e3),
            &figures(point.answer_seconds() * 1e3),
            &"█".repeat(bar.max(1)),
        ]);
    }
    table.print();
    line("");
    line(&said(choice, arguments.slo));
    line("");
    line(toml.trim_end());
}

/// Says what was chosen.
fn said(choice: &TuneChoice<'_>, slo: Option<Duration>) -> String {
    let gain = choice.point.rows_per_second / choice.default.rows_per_second;
    let rate = format!("{gain:.2} × the rows a second of the default lanes and threads");
    match slo {
        Some(slo) if !choice.is_in_time => format!(
            "No setting answers within {slo:?} under full load. * is the fastest: about {} ms, with {rate}.",
            figures(choice.point.answer_seconds() * 1e3)
        ),
        _ if choice.is_default() => {
            "* The default lanes and threads are as good as any.".to_owned()
        }
        _ => format!("* {rate}."),
    }
}

/// The section to paste.
fn settings(name: &ModelName, choice: &TuneChoice<'_>) -> String {
    let mut toml = format!("[model.{}]\n", toml_key(name.as_str()));
    let LaneThreads {
        lanes,
        intra_op_threads,
    } = choice.point.threads;
    let _ = writeln!(
        toml,
        "lanes = {lanes}\nintra_op_threads = {intra_op_threads}"
    );
    if let Some(rows) = choice.rows_max {
        let _ = writeln!(
            toml,
            "batch_rows_max = {rows}  # requests of more rows are refused"
        );
    }
    toml
}

/// A key of TOML, quoted where it must be.
fn toml_key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match name.chars().all(is_bare) {
        true => name.to_owned(),
        false => format!("{name:?}"),
    }
}
