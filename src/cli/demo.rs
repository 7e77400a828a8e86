//! `ortus demo`: starts a server on a temporary copy of the example models, sends their sample
//! requests over both protocols, compares the outputs with the golden rows, and swaps in a second
//! version while requests run.

use super::print::{TextTable, line, note};
use super::{Demo, block_on, text};
use crate::api::oip::json as oip_json;
use crate::api::oip::shared_memory::Regions;
use crate::app::signals::Signals;
use crate::app::{App, Ports};
use crate::client;
use crate::config::Config;
use crate::core::count::counted;
use crate::core::error::{Error, Result};
use crate::core::tensor::compare::{Tolerance, difference};
use crate::core::tensor::{NamedTensors, Tensor};
use crate::observe::logging::{self, LogFormat};
use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

/// An example model of Ortus.
struct Example {
    name: String,
    folder: PathBuf,
    sample: Bytes,
    inputs: NamedTensors,
    golden: NamedTensors,
    /// The golden outputs of the second version, if there is one.
    next: Option<NamedTensors>,
}

/// Tolerance for outputs: another CPU may round differently.
const TOLERANCE: Tolerance = Tolerance {
    relative: 1e-5,
    absolute: 1e-5,
};

/// Runs the tour.
pub(super) fn run(arguments: &Demo) -> Result<ExitCode> {
    let signals = Signals::install()?;
    logging::start("ortus=warn,warn", LogFormat::Text)?;
    let from = models_folder(arguments.models.as_deref())?;
    let examples = examples(&from)?;
    let copy = tempfile::tempdir()
        .map_err(|e| Error::precondition("create a temporary directory").with_source(e))?;
    for example in &examples {
        install(
            example,
            "1",
            copy.path(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        )?;
    }

    let config = configuration(arguments, copy.path())?;
    let start = Instant::now();
    let app = App::start(&config, signals, &note)?;
    if app.is_asked_to_stop() {
        app.stop()?;
        return Ok(ExitCode::SUCCESS);
    }

    line(&format!(
        "ortus serves {}, ready after {} ms",
        counted(app.count_serving_and_refused().0, "model"),
        start.elapsed().as_millis()
    ));

    let mut passed = app.count_serving_and_refused().1.is_empty()
        && app.count_serving_and_refused().0 == examples.len();
    for reason in app.count_serving_and_refused().1 {
        note(&format!("refused: {reason}"));
    }
    passed &= block_on(run_tour(&app.ports, &examples))?;
    for example in examples.iter().filter(|e| e.next.is_some()) {
        passed &= replace_version(&app.ports, example, copy.path())?;
    }
    if arguments.exit {
        app.stop()?;
        line(if passed {
            "every check passed"
        } else {
            "a check failed"
        });
        return Ok(if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }

    print_next_steps(&app.ports, &from);
    app.wait_for_signal();
    app.stop()?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the configuration of the demo's server: free ports, and quick looks at `models`.
fn configuration(arguments: &Demo, models: &Path) -> Result<Config> {
    let any = |key: &str| (key.to_owned(), text("127.0.0.1:0"));
    let mut flags = vec![
        any("server.http"),
        any("server.grpc"),
        any("server.ops"),
        any("server.operator"),
    ];

    flags.push((
        "models.directory".to_owned(),
        text(models.display().to_string()),
    ));
    flags.push(("models.settle".to_owned(), text("100ms")));
    flags.push(("models.poll".to_owned(), text("100ms")));
    // No load balancer sends requests to it.
    flags.push(("server.drain_delay".to_owned(), text("0s")));
    flags.push((
        "runtime.offline".to_owned(),
        toml::Value::Boolean(arguments.offline),
    ));

    Config::load(None, std::env::vars(), flags)
}

fn models_folder(given: Option<&Path>) -> Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let candidates = match given {
        Some(path) => vec![path.to_owned()],
        None => vec![PathBuf::from("models"), built_from],
    };
    let found = candidates
        .into_iter()
        .find(|path| path.join("digits/sample.json").is_file());
    found.ok_or_else(|| {
        Error::precondition(
            "the example models are not in ./models; give their directory with --models DIR",
        )
    })
}

fn examples(folder: &Path) -> Result<Vec<Example>> {
    let unreadable = |e: std::io::Error| {
        Error::precondition("read the directory of the example models").with_source(e)
    };
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(unreadable)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.retain(|path| path.join("sample.json").is_file());

    folders.sort();
    let mut all = Vec::new();
    for folder in folders {
        let sample = Bytes::from(fs::read(folder.join("sample.json")).map_err(unreadable)?);
        let next = folder.join(".next/answer.json");
        all.push(Example {
            name: folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            inputs: oip_json::decode(&sample, None, &Regions::off())?.inputs,
            golden: outputs(&fs::read(folder.join("answer.json")).map_err(unreadable)?)?,
            next: if next.is_file() {
                Some(outputs(&fs::read(next).map_err(unreadable)?)?)
            } else {
                None
            },
            sample,
            folder,
        });
    }

    Ok(all)
}

/// Reads the outputs of a response in JSON.
fn outputs(answer: &[u8]) -> Result<NamedTensors> {
    #[derive(serde::Deserialize)]
    struct DemoAnswer<'a> {
        #[serde(borrow)]
        outputs: &'a serde_json::value::RawValue,
    }

    let parsed: DemoAnswer<'_> = serde_json::from_slice(answer)
        .map_err(|e| Error::invalid("the server's response is not JSON").with_source(e))?;
    // An output has the form of an input.
    let body = format!(r#"{{"inputs":{}}}"#, parsed.outputs.get());
    Ok(oip_json::decode(&body.into(), None, &Regions::off())?.inputs)
}

/// Copies a version into the served directory: first beside it, then renamed, so that it appears
/// complete.
fn install(example: &Example, version: &str, served: &Path, written: SystemTime) -> Result<()> {
    let source = if version == "1" {
        example.folder.join("1")
    } else {
        example.folder.join(".next")
    };

    let staging = served.join(format!(".{}-{version}", example.name));
    let target = served.join(&example.name);
    let put = || -> std::io::Result<()> {
        fs::create_dir_all(&staging)?;
        fs::create_dir_all(&target)?;
        let copy = staging.join("model.onnx");
        fs::copy(source.join("model.onnx"), &copy)?;
        fs::File::options()
            .write(true)
            .open(&copy)?
            .set_modified(written)?;
        fs::rename(&staging, target.join(version))
    };

    put().map_err(|e| Error::precondition("copy a model").with_source(e))
}

/// Compares outputs with the golden ones.
fn verdict(answer: &NamedTensors, golden: &NamedTensors) -> (bool, &'static str) {
    let same = |((name, x), (other, y)): (&(String, Tensor), &(String, Tensor))| {
        name == other && difference(x, y, TOLERANCE).is_none()
    };
    match answer.len() == golden.len() && answer.iter().zip(golden).all(same) {
        true if answer == golden => (true, "equal to the golden rows"),
        true => (true, "equal up to rounding"),
        false => (false, "DIFFERENT"),
    }
}

async fn run_tour(ports: &Ports, examples: &[Example]) -> Result<bool> {
    let mut http = client::Http::connect(&ports.http.to_string()).await?;
    let mut grpc = client::grpc(&ports.grpc.to_string()).await?;
    let mut table = TextTable::new(&["model", "http", "grpc"]);
    let mut passed = true;
    for example in examples {
        let (_, body) = http
            .infer(&example.name, "", example.sample.clone())
            .await?;
        let (good_http, over_http) = verdict(&outputs(&body)?, &example.golden);
        let request = client::infer_request(&example.name, "", &example.inputs);
        let answer = client::infer(&mut grpc, request).await?;
        let (good_grpc, over_grpc) = verdict(&answer.outputs, &example.golden);
        passed &= good_http && good_grpc;
        table.row(&[&example.name, over_http, over_grpc]);
    }

    table.print();
    Ok(passed)
}

/// The responses to a stream of requests.
#[derive(Default)]
struct StreamCounts {
    answers: [u64; 2],
    failed: u64,
    wrong: u64,
}

impl StreamCounts {
    fn count(&mut self, example: &Example, answer: Result<(String, NamedTensors)>) {
        let Ok((version, outputs)) = answer else {
            self.failed += 1;
            return;
        };
        let (slot, golden) = match (version.as_str(), &example.next) {
            ("1", _) => (0, &example.golden),
            ("2", Some(next)) => (1, next),
            _ => {
                self.wrong += 1;
                return;
            }
        };

        self.answers[slot] += 1;
        if !verdict(&outputs, golden).0 {
            self.wrong += 1;
        }
    }
}

/// Time limit for the swap to the second version.
const SWAP_MAX: Duration = Duration::from_secs(20);

/// Installs the second version while requests run.
fn replace_version(ports: &Ports, example: &Example, served: &Path) -> Result<bool> {
    let start = Instant::now();
    let (seen_http, seen_grpc) = std::thread::scope(|scope| {
        let http = scope.spawn(|| block_on(stream_http(ports, example)));
        let grpc = scope.spawn(|| block_on(stream_grpc(ports, example)));
        // The first version answers some requests before the second is installed.
        std::thread::sleep(Duration::from_millis(200));
        let put = install(example, "2", served, SystemTime::now());
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<StreamCounts>>| {
            thread
                .join()
                .unwrap_or_else(|_| Err(Error::internal("the demo's client panicked")))
        };
        put.and_then(|()| Ok((join(http)?, join(grpc)?)))
    })?;

    let mut passed = true;
    for (protocol, seen) in [("http", &seen_http), ("grpc", &seen_grpc)] {
        let [old, new] = seen.answers;
        passed &= seen.failed == 0 && seen.wrong == 0 && old > 0 && new > 0;
        line(&format!(
            "{} swapped under load over {protocol}: {} of version 1, then {new} of version 2; {} failed, {} wrong",
            example.name,
            counted(old, "response"),
            seen.failed,
            seen.wrong
        ));
    }

    if !passed {
        note(&format!(
            "{} was not swapped within {} ms",
            example.name,
            start.elapsed().as_millis()
        ));
    }

    Ok(passed)
}

/// Tells whether a stream has enough responses: a hundred of the new version.
fn has_seen_enough(seen: &StreamCounts, start: Instant) -> bool {
    seen.answers[1] >= 100 || start.elapsed() > SWAP_MAX
}

async fn stream_http(ports: &Ports, example: &Example) -> Result<StreamCounts> {
    let mut http = client::Http::connect(&ports.http.to_string()).await?;
    let (mut seen, start) = (StreamCounts::default(), Instant::now());
    while !has_seen_enough(&seen, start) {
        let answer = http.infer(&example.name, "", example.sample.clone()).await;
        let version = |headers: &http::HeaderMap| {
            headers
                .get("ortus-model-version")
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        seen.count(
            example,
            answer.and_then(|(headers, body)| Ok((version(&headers), outputs(&body)?))),
        );
    }

    Ok(seen)
}

async fn stream_grpc(ports: &Ports, example: &Example) -> Result<StreamCounts> {
    let mut grpc = client::grpc(&ports.grpc.to_string()).await?;
    let (mut seen, start) = (StreamCounts::default(), Instant::now());
    while !has_seen_enough(&seen, start) {
        let request = client::infer_request(&example.name, "", &example.inputs);
        let answer = client::infer(&mut grpc, request).await;
        seen.count(example, answer.map(|a| (a.version, a.outputs)));
    }

    Ok(seen)
}

fn print_next_steps(ports: &Ports, from: &Path) {
    let from = from.display();
    line("");
    line("the server runs until Ctrl-C; send requests to it:");
    line(&format!(
        "  curl -d @{from}/digits/sample.json http://{}/v2/models/digits/infer",
        ports.http
    ));
    line(&format!(
        "  ortus predict digits --grpc --server {} --file {from}/digits/sample.json",
        ports.grpc
    ));
    line(&format!("  curl http://{}/metrics", ports.ops));
}
