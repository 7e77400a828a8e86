//! `ortus-trainer demo`: a stream of payments drifts, the server raises an alarm,
//! the trainer retrains on captured and labelled predictions, and the new version
//! restores the accuracy. Server and trainer are real processes, the registry is a
//! folder; only the payments are simulated.

mod course;
mod place;
mod specification;
mod stream;
mod world;

use bytes::Bytes;
use clap::Args;
use http::Method;
use ortus::cli::block_on;
use ortus::cli::print::{line, note};
use ortus::client;
use ortus::core::count::counted;
use ortus::core::error::{Error, Result};
use ortus::core::hash::SplitMix;
use place::{DemoFolder, Running};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use stream::{Stream, StreamTotals};
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
/// The rows of the moving accuracy.
const LATEST: usize = 1_000;
/// The most time that the demonstration may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs the demonstration; exits 1 if the accuracy was not restored.
pub(crate) fn run(arguments: &DemoArguments) -> Result<ExitCode> {
    let temporary = tempfile::tempdir()
        .map_err(|e| Error::precondition("make a temporary folder").with_source(e))?;
    let folder = match &arguments.keep {
        Some(folder) => kept_folder(folder)?,
        None => temporary.path().to_owned(),
    };

    let place = DemoFolder {
        folder,
        is_offline: arguments.offline,
    };
    let result = block_on(run_tour(&place, arguments.json))?;
    let held = result["held"] == json!(true);
    if arguments.json {
        line(&result.to_string());
    } else if held {
        line("the demonstration succeeded");
    } else {
        line("the demonstration failed");
    }

    Ok(if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Makes the folder of `--keep`, and returns its absolute path.
fn kept_folder(folder: &Path) -> Result<PathBuf> {
    let failed = |e| Error::precondition(format!("make {}", folder.display())).with_source(e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    folder.canonicalize().map_err(failed)
}

/// Prints what the demonstration shows: to standard error if standard output is JSON.
struct Teller {
    is_json: bool,
}

impl Teller {
    fn say(&self, text: &str) {
        if self.is_json {
            note(text);
        } else {
            line(text);
        }
    }
}

/// Runs the demonstration, and returns its result.
async fn run_tour(place: &DemoFolder, is_json: bool) -> Result<Value> {
    let teller = Teller { is_json };
    let registry = place.registry();
    let mut world = World {
        dice: SplitMix(7),
        has_changed: false,
    };
    place.write("history.csv", &history(&mut world))?;
    let first = place.write("first.toml", &specification::first())?;
    let first = first.display().to_string();
    let next = place.write("train.toml", &specification::next())?;
    let next = next.display().to_string();

    let reason = ["--reason", "the first model"];
    place.run(&[&["run", &first, "--registry", &registry], &reason[..]].concat())?;
    teller.say(&format!(
        "version 1 is trained on {HISTORY} payments and is champion"
    ));

    let (_server, http) = serve(place).await?;
    let watch = ["watch", &next, "--registry", &registry, "--json"];
    let _trainer = place.start(&watch, "trainer.log")?;
    teller.say("a server serves version 1, a trainer watches for alarms");

    let mut stream = Stream {
        http: client::Http::connect(&http).await?,
        world,
        seen: StreamTotals::default(),
        unlabelled: VecDeque::new(),
    };
    let course = course::run(&mut stream, &teller).await;
    course::report(&stream.seen, &course, &teller);

    // Captured files are written once a second.
    let lineage = lineage(place, &stream.seen.last_id).await?;
    print_lineage(&stream.seen.last_id, &lineage, &teller);
    let runs = place.run(&["runs", MODEL, "--registry", &registry, "--json"])?;
    let runs: Value =
        serde_json::from_str(&runs).map_err(|e| Error::internal("read the runs").with_source(e))?;
    let mut result = course::in_json(&stream.seen, &course);
    result["lineage"] = lineage;
    result["runs"] = runs;
    Ok(result)
}

/// Returns the training rows of the first version, as CSV.
fn history(world: &mut World) -> String {
    let mut rows = "time,amount,hour,age,country,fraud\n".to_owned();
    let begin = chrono::Utc::now() - chrono::TimeDelta::days(2);
    for row in 0..HISTORY {
        let time = begin + chrono::TimeDelta::seconds(20 * row as i64);
        let time = time.format("%Y-%m-%dT%H:%M:%S");
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
    rows
}

/// Settings of the server, so that a few minutes are enough to see drift.
const SERVER_SETTINGS: [&str; 8] = [
    "registry.poll=200ms",
    "capture.share=1.0",
    "capture.age_max=1s",
    "feedback.poll=200ms",
    "monitor.window_rows=500",
    "monitor.window_min=1s",
    "monitor.cpu_share=0.5",
    "monitor.fleet_window=0s",
];

/// Starts the server, and waits until it is ready; returns its HTTP address.
async fn serve(place: &DemoFolder) -> Result<(Running, String)> {
    let registry = place.registry();
    let ports = place.path("ports.json").display().to_string();
    let cache = place.path("cache").display().to_string();
    let mut arguments = vec![SERVER, "serve", "--registry", &registry];
    arguments.extend(["--cache", &cache, "--ports-file", &ports]);
    for listener in ["--http", "--grpc", "--ops", "--operator"] {
        arguments.extend([listener, "127.0.0.1:0"]);
    }
    for setting in SERVER_SETTINGS {
        arguments.extend(["--set", setting]);
    }

    let server = place.start(&arguments, "server.log")?;
    let http = listening(Path::new(&ports)).await?;
    Ok((server, http))
}

/// Waits until the server is ready; returns its HTTP address.
async fn listening(ports: &Path) -> Result<String> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(http) = http_address(ports)
            && is_ready(&http).await
        {
            return Ok(http);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    Err(Error::late("the server did not become ready"))
}

/// Reads the HTTP address from the file in which the server writes its ports.
fn http_address(ports: &Path) -> Option<String> {
    let text = std::fs::read(ports).ok()?;
    let ports: Value = serde_json::from_slice(&text).ok()?;
    ports["http"].as_str().map(str::to_owned)
}

async fn is_ready(http: &str) -> bool {
    let Ok(mut server) = client::Http::connect(http).await else {
        return false;
    };
    let path = format!("/v2/models/{MODEL}/ready");
    let answer = server.send(Method::GET, &path, Bytes::new()).await;
    answer.is_ok_and(|(status, ..)| status.is_success())
}

/// Returns the lineage of a prediction, once it is captured.
async fn lineage(place: &DemoFolder, id: &str) -> Result<Value> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let output = place.run(&[
            SERVER,
            "lineage",
            "--prediction",
            id,
            "--registry",
            &place.registry(),
            "--json",
        ]);
        match output {
            Ok(text) => {
                return serde_json::from_str(&text)
                    .map_err(|e| Error::internal("read a lineage").with_source(e));
            }
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

/// Prints the versions from which a prediction descends, the newest first.
fn print_lineage(id: &str, lineage: &Value, teller: &Teller) {
    teller.say(&format!("lineage of prediction {id}:"));
    for step in lineage.as_array().into_iter().flatten() {
        let record = &step["lineage"];
        let files = record
            .pointer("/data/sources/0/files")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        teller.say(&format!(
            "  version {}: {}; {} rows of {}, {}",
            step["version"],
            text(&record["trigger"]),
            record.pointer("/data/rows").unwrap_or(&Value::Null),
            counted(files, "file"),
            text(&record["data_digest"])
        ));
        for made in step["made_champion"].as_array().into_iter().flatten() {
            teller.say(&format!(
                "    champion since {}, by {}: {}",
                text(&made["time"]),
                text(&made["by"]),
                text(&made["reason"])
            ));
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
