//! `ortus replay`: sends captured predictions to a server again and compares the outputs with
//! the captured ones.

use super::alarms::RecordsPlace;
use super::block_on;
use super::print::{TextTable, line, note};
use super::registry::arguments::beginning;
use super::registry::split_target;
use crate::client;
use crate::core::count::counted;
use crate::core::error::{Error, Result};
use crate::core::tensor::Tensor;
use crate::observe::capture::replay::{ReplayComparison, Window, open};
use crate::storage::layout::Records;
use chrono::{DateTime, Utc};
use clap::Args;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::time::{Duration, Instant};

#[derive(Args)]
pub(super) struct ReplayArguments {
    /// Captured model: NAME, or NAME:VERSION for the predictions of one version.
    target: String,
    #[command(flatten)]
    place: RecordsPlace,
    /// Start of the period: a date (UTC) or an RFC 3339 time [default: one day ago].
    #[arg(long, value_name = "DATE", value_parser = beginning)]
    from: Option<DateTime<Utc>>,
    /// End of the period, as an RFC 3339 time [default: now].
    #[arg(long, value_name = "TIME")]
    to: Option<DateTime<Utc>>,
    /// gRPC address of a running server.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8001")]
    server: String,
    /// Model that receives the requests: NAME, NAME:VERSION or NAME@ALIAS [default: the captured model].
    #[arg(long, value_name = "TARGET")]
    ask: Option<String>,
    /// Largest number of requests to send.
    #[arg(long, default_value_t = 10_000)]
    limit: u64,
    /// Concurrent requests.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    in_flight: u32,
    /// Exit with 3 if an output differs or is missing.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Exit code under `--strict` if an output differs.
const DIFFERENT: u8 = 3;

/// Runs `ortus replay`. Returns the exit code.
pub(super) fn replay(arguments: &ReplayArguments) -> Result<u8> {
    let (name, version) = split_target(&arguments.target)?;
    let version = version.map(|v| {
        v.parse().map_err(|_| {
            Error::invalid(format!(
                "the version must be a number of 1 or greater; got \"{v}\""
            ))
        })
    });

    let to = arguments.to.unwrap_or_else(Utc::now);
    let from = arguments.from.unwrap_or(to - chrono::TimeDelta::days(1));
    let window = Window {
        model: name,
        version: version.transpose()?,
        from,
        to,
    };

    let records = arguments.place.open()?;
    let mut found = block_on(send(arguments, &records, &window))?;
    print(arguments, &mut found)?;
    Ok(if arguments.strict && found.different + found.failed > 0 {
        DIFFERENT
    } else {
        0
    })
}

/// A captured request and its captured outputs.
struct Asked {
    id: String,
    inputs: Vec<(String, Tensor)>,
    outputs: Vec<(String, Tensor)>,
}

async fn send(
    arguments: &ReplayArguments,
    records: &Records,
    window: &Window,
) -> Result<ReplayComparison> {
    let (name, version) = match &arguments.ask {
        Some(target) => split_target(target)?,
        None => (window.model.clone(), None),
    };
    let (name, version) = (name.to_string(), version.unwrap_or_default());
    let client = client::grpc(&arguments.server).await?;
    let ask = |asked: Asked| {
        let mut client = client.clone();
        let request = client::infer_request(&name, &version, &asked.inputs);
        async move {
            let begun = Instant::now();
            let answer = client::infer(&mut client, request).await;
            (asked, answer, begun.elapsed())
        }
    };

    let mut found = ReplayComparison::default();
    let mut under_way = FuturesUnordered::new();
    let count =
        |found: &mut ReplayComparison,
         (asked, answer, took): (Asked, Result<client::InferAnswer>, Duration)| match answer
        {
            Ok(answer) => found.answered(&asked.id, &asked.outputs, &answer.outputs, took),
            Err(error) => found.failed(&asked.id, &error),
        };
    let mut begun = 0;

    'files: for key in window.files(records).await? {
        let Some(file) = open(records, &key).await? else {
            continue;
        };
        for request in file.requests()? {
            if !window.holds(request.time) {
                continue;
            }
            if begun >= arguments.limit {
                note_limit(begun);
                break 'files;
            }
            begun += 1;
            let id = request.prediction.to_string();
            match (file.inputs(&request), file.outputs(&request)) {
                (Ok(inputs), Ok(outputs)) => under_way.push(ask(Asked {
                    id,
                    inputs,
                    outputs,
                })),
                (Err(error), _) | (_, Err(error)) => found.skipped(&id, &error),
            }
            if under_way.len() >= arguments.in_flight as usize
                && let Some(done) = under_way.next().await
            {
                count(&mut found, done);
            }
        }
    }

    while let Some(done) = under_way.next().await {
        count(&mut found, done);
    }
    if begun == 0 {
        return Err(Error::not_found(format!(
            "no prediction of '{}' was captured from {} to {}; check --from, --to and the store",
            window.model,
            window.from.to_rfc3339(),
            window.to.to_rfc3339()
        )));
    }

    Ok(found)
}

/// Says that the limit was reached.
fn note_limit(sent: u64) {
    note(&format!(
        "ortus: stopped after {}; raise --limit to send more",
        counted(sent, "request")
    ));
}

fn print(arguments: &ReplayArguments, found: &mut ReplayComparison) -> Result<()> {
    let (middle, late) = (found.time_us(0.5), found.time_us(0.99));
    if arguments.json {
        let mut json =
            serde_json::to_value(&*found).map_err(|e| Error::internal("print").with_source(e))?;
        json["time_us"] = serde_json::json!({"p50": middle, "p99": late});
        line(&json.to_string());
        return Ok(());
    }

    let ReplayComparison {
        sent,
        same,
        different,
        failed,
        skipped,
        outputs,
        examples,
        ..
    } = found;

    line(&format!(
        "{sent} sent: {same} the same, {different} different, {failed} failed; {skipped} cannot be sent; p50 {middle} µs, p99 {late} µs"
    ));
    let mut table = TextTable::new(&[
        "output",
        "different",
        "largest difference",
        "mean difference",
    ]);

    for (name, output) in outputs {
        let number = |n: f64| format!("{n:.3e}");
        table.row(&[
            name,
            &output.different.to_string(),
            &number(output.difference_max),
            &number(output.difference_mean),
        ]);
    }

    table.print();
    examples.iter().for_each(|example| line(example));
    Ok(())
}
