//! `ortus-trainer demo`: a stream of payments drifts, the server raises an alarm,
//! the trainer retrains on captured and labelled predictions, and the new version
//! restores the accuracy. Server and trainer are real processes, the registry is a
//! folder; only the payments are simulated.

mod place;
mod stream;
mod world;

use bytes::Bytes;
use clap::Args;
use http::Method;
use ortus::cli::block_on;
use ortus::cli::print::{line, note};
use ortus::client;
use ortus::core::error::{Error, Result};
use ortus::core::hash::SplitMix;
use place::Place;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use stream::{Seen, Stream};
use world::{Payment, World};

/// The options of `ortus-trainer demo`.
#[derive(Args)]
pub(crate) struct DemoArguments {
    /// Never download the ONNX Runtime library.
    #[arg(long)]
    pub offline: bool,
    /// Keep the registry, data and logs in this new folder.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The hidden subcommand under which this program is `ortus`.
pub(crate) const SERVER: &str = "ortus";
const MODEL: &str = "payments";
/// The training rows of the first version.
const HISTORY: usize = 4_000;
/// Requests before the pattern of payments changes.
const CALM: usize = 150;
/// The rows of the moving accuracy.
const LATEST: usize = 1_000;
/// The loss of accuracy that is accepted at the end.
const SLACK: f64 = 0.04;
/// The most time that the demonstration may take.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) fn run(arguments: &DemoArguments) -> Result<ExitCode> {
    let temporary = tempfile::tempdir()
        .map_err(|e| Error::precondition("make a temporary folder").with_source(e))?;
    let folder = match &arguments.keep {
        Some(folder) => {
            let failed =
                |e| Error::precondition(format!("make {}", folder.display())).with_source(e);
            std::fs::create_dir_all(folder).map_err(failed)?;
            folder.canonicalize().map_err(failed)?
        }
        None => temporary.path().to_owned(),
    };

    let place = Place {
        folder,
        is_offline: arguments.offline,
    };
    let found = block_on(tour(&place, arguments.json))?;
    if arguments.json {
        line(&found.to_string());
    }
    let held = found["held"] == json!(true);
    if !arguments.json {
        line(if held {
            "the demonstration succeeded"
        } else {
            "the demonstration failed"
        });
    }

    Ok(if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The specification of the first version, and of those that follow it.
fn specification(sources: &str, gates: &str, triggers: &str) -> String {
    format!(
        "[model]\nname = \"{MODEL}\"\nabout = \"Whether a payment turns out to be fraud.\"\n\n{sources}\n\
         [schema]\ntarget = \"fraud\"\ntime = \"time\"\n\n[fit.trees]\nrounds_max = 60\nleaves_max = 15\n\n\
         {gates}\n[publish]\npolicy = \"champion\"\n\n{triggers}"
    )
}

async fn tour(place: &Place, is_quiet: bool) -> Result<Value> {
    let say = |text: &str| if is_quiet { note(text) } else { line(text) };
    let mut world = World {
        dice: SplitMix(7),
        has_changed: false,
    };
    let mut rows = "time,amount,hour,age,country,fraud\n".to_owned();
    let begin = chrono::Utc::now() - chrono::TimeDelta::days(2);
    for row in 0..HISTORY {
        let time =
            (begin + chrono::TimeDelta::seconds(20 * row as i64)).format("%Y-%m-%dT%H:%M:%S");
        let Payment {
            amount,
            hour,
            age,
            country,
            fraud,
        } = world.payment();
        let fraud = if fraud { "yes" } else { "no" };
        let _ = writeln!(
            rows,
            "{time},{amount:.4},{hour:.3},{age:.2},{country},{fraud}"
        );
    }

    place.write("history.csv", &rows)?;
    let first = specification("[data.sources]\nhistory = \"history.csv\"\n", "", "");
    let first = place.write("first.toml", &first)?.display().to_string();
    // Captured predictions whose label is known.
    let query = "SELECT \\\"time\\\", amount, hour, age, country, truth AS fraud FROM seen";
    let next = specification(
        &format!(
            "[data]\nsql = \"{query}\"\nrows_min = 500\n\n[data.sources]\nseen = \"capture:{MODEL}?days=1\"\n"
        ),
        "[split]\nby = \"random\"\noverride_reason = \"all rows after the change are among the newest\"\n\n[gates]\nregression_max = 0.0\n",
        "[triggers]\ndrift = true\nloss = true\ncooldown = \"3s\"\npoll = \"300ms\"\nruns_max = 40\n",
    );

    let next = place.write("train.toml", &next)?.display().to_string();
    let registry = place.registry();

    place.does(&[
        "run",
        &first,
        "--registry",
        &registry,
        "--reason",
        "the first model",
    ])?;

    say(&format!(
        "version 1 is trained on {HISTORY} payments and is champion"
    ));
    let ports = place.at("ports.json").display().to_string();
    let cache = place.at("cache").display().to_string();
    let mut serve = vec![
        SERVER,
        "serve",
        "--registry",
        &registry,
        "--cache",
        &cache,
        "--ports-file",
        &ports,
    ];

    for listener in ["--http", "--grpc", "--ops", "--operator"] {
        serve.extend([listener, "127.0.0.1:0"]);
    }
    let set = [
        "registry.poll=200ms",
        "capture.share=1.0",
        "capture.age_max=1s",
        "feedback.poll=200ms",
        "monitor.window_rows=500",
        "monitor.window_min=1s",
        "monitor.cpu_share=0.5",
        "monitor.fleet_window=0s",
    ];

    serve.extend(set.into_iter().flat_map(|s| ["--set", s]));
    let _server = place.start(&serve, "server.log")?;
    let http = listening(Path::new(&ports)).await?;
    let _trainer = place.start(
        &["watch", &next, "--registry", &registry, "--json"],
        "trainer.log",
    )?;
    say("a server serves version 1, a trainer watches for alarms");

    let mut stream = Stream {
        http: client::Http::connect(&http).await?,
        world,
        seen: Seen::default(),
        unlabelled: VecDeque::new(),
    };

    for _ in 0..CALM {
        stream.step().await;
    }
    let before = stream.seen.accuracy();
    say(&format!(
        "{} payments predicted, {:.1} % right; now large payments appear, which are not in the training data",
        stream.seen.rows,
        before * 100.0
    ));

    stream.world.has_changed = true;
    stream.seen.latest.clear();
    let (changed, mut worst, mut recovered, mut swapped) =
        (Instant::now(), f64::INFINITY, None, None);
    while recovered.is_none() && changed.elapsed() < PATIENCE {
        stream.step().await;
        let full = stream.seen.latest.len() == LATEST;
        let accuracy = stream.seen.accuracy();
        let newest = stream
            .seen
            .versions
            .keys()
            .map(|(version, _)| *version)
            .max()
            .unwrap_or(1);
        if newest > 1 && swapped.is_none() {
            swapped = Some(changed.elapsed());
            say(&format!(
                "{:.1} s: version {newest} answers",
                changed.elapsed().as_secs_f64()
            ));
        }
        if full {
            worst = worst.min(accuracy);
        }
        if full && newest > 1 && accuracy >= before - SLACK {
            recovered = Some(changed.elapsed());
        }
    }

    let seen = &stream.seen;
    let after = seen.accuracy();
    say(&format!(
        "accuracy of the last {} payments: {:.1} %; at worst {:.1} %",
        seen.latest.len(),
        after * 100.0,
        worst * 100.0
    ));

    for ((version, changed), (rows, right)) in &seen.versions {
        let when = if *changed { "after" } else { "before" };
        say(&format!(
            "  version {version}, {when} the change: {rows} rows, {:.1} % right",
            *right as f64 / *rows as f64 * 100.0
        ));
    }

    say(&format!("{} requests failed", seen.lost));
    let id = seen.last_id.clone();
    // Captured files are written once a second.
    let lineage = lineage(place, &id).await?;
    tell(&id, &lineage, &say);
    let runs = place.does(&["runs", MODEL, "--registry", &registry, "--json"])?;
    let runs: Value =
        serde_json::from_str(&runs).map_err(|e| Error::internal("read the runs").with_source(e))?;
    let held = recovered.is_some() && seen.lost == 0 && worst < before - 2.0 * SLACK;
    let versions = seen.versions.iter().map(|((version, changed), (rows, right))| {
        json!({"version": version, "after_change": changed, "rows": rows, "right": right})
    });
    Ok(json!({
        "held": held, "rows": seen.rows, "lost": seen.lost,
        "accuracy": {"before": before, "worst": worst, "after": after},
        "seconds": {"swap": swapped.map(|t| t.as_secs_f64()), "recovery": recovered.map(|t| t.as_secs_f64())},
        "versions": versions.collect::<Vec<_>>(),
        "prediction": id, "lineage": lineage, "runs": runs,
    }))
}

/// Waits until the server is ready; returns its address.
async fn listening(file: &Path) -> Result<String> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let ports = std::fs::read(file)
            .ok()
            .and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        if let Some(http) = ports.as_ref().and_then(|ports| ports["http"].as_str()) {
            let ready = match client::Http::connect(http).await {
                Ok(mut to) => to
                    .send(
                        Method::GET,
                        &format!("/v2/models/{MODEL}/ready"),
                        Bytes::new(),
                    )
                    .await
                    .ok(),
                Err(_) => None,
            };
            if ready.is_some_and(|(status, ..)| status.is_success()) {
                return Ok(http.to_owned());
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    Err(Error::late("the server did not become ready"))
}

/// Returns the lineage of a prediction, once it is captured.
async fn lineage(place: &Place, id: &str) -> Result<Value> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let said = place.does(&[
            SERVER,
            "lineage",
            "--prediction",
            id,
            "--registry",
            &place.registry(),
            "--json",
        ]);
        match said {
            Ok(text) => {
                return serde_json::from_str(&text)
                    .map_err(|e| Error::internal("read a lineage").with_source(e));
            }
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

fn tell(id: &str, lineage: &Value, say: &dyn Fn(&str)) {
    say(&format!("lineage of prediction {id}:"));
    for step in lineage.as_array().into_iter().flatten() {
        let record = &step["lineage"];
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let files = record
            .pointer("/data/sources/0/files")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        say(&format!(
            "  version {}: {}; {} rows of {files} files, {}",
            step["version"],
            word(&record["trigger"]),
            record.pointer("/data/rows").unwrap_or(&Value::Null),
            word(&record["data_digest"])
        ));
        for made in step["made_champion"].as_array().into_iter().flatten() {
            say(&format!(
                "    champion since {}, by {}: {}",
                word(&made["time"]),
                word(&made["by"]),
                word(&made["reason"])
            ));
        }
    }
}
