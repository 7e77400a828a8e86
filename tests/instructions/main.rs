//! Instructions of a request on the data path, counted by callgrind. Fails if a load needs 5 % more than
//! `tests/instructions/figures.json` says; with the argument `update` it writes that file. It runs itself
//! under valgrind, with a session that echoes: what ONNX Runtime does depends on the processor.
//!
//! Only the thread that serves a connection is counted, while it does. The count is the difference between a
//! connection and one with twice the requests, so that opening and warming up are left out.

#![allow(clippy::print_stdout)]

use ortus::testing::data_path::{DataPath, EchoEngine};
use ortus::testing::graphs;
use ortus::testing::wire_client::{WireCall, WireClient};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// How much more than the file says a load may need.
const MORE_MAX: f64 = 1.05;
/// Requests before those that are counted, after which buffers have grown and costs are learned.
const WARM: usize = 64;
/// Requests of the shorter connection.
const REQUESTS: usize = 128;
const ROW: [f32; 16] = [0.5; 16];

const FIGURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/instructions/figures.json"
);
const COMMAND: &str = "cargo test --workspace --test instructions -- update";
const ABOUT: &str = "Instructions of one request on the thread that serves its connection, on a model that echoes 16 values of FP32. `.ci/run` fails where a load needs 5 % more. If that is intended, write this file again with the command, and commit it with the reason. Keyed by compiler and processor, which change the figures; so do the versions of libraries. Counted in the build of the tests, which is there anyway: its figures are several times those of a release build, but an allocation, a copy or a call more adds to both. Any optimised build would compile all libraries and the server again, for the server alone over three minutes of CPU time at the lowest level. Repeated counts differ by 1 to 4 %.";

type AnyError = Box<dyn Error>;

/// What is counted.
struct Load {
    name: &'static str,
    call: fn() -> WireCall,
    in_flight: usize,
}

const LOADS: &[Load] = &[
    Load {
        name: "ModelInfer, 1 in flight",
        call: || WireCall::grpc("identity", &ROW),
        in_flight: 1,
    },
    Load {
        name: "ModelInfer, 64 in flight",
        call: || WireCall::grpc("identity", &ROW),
        in_flight: 64,
    },
    Load {
        name: "HTTP/1 binary, 1 in flight",
        call: || WireCall::http_binary("identity", &ROW),
        in_flight: 1,
    },
    Load {
        name: "HTTP/1 JSON, 1 in flight",
        call: || WireCall::http_json("identity", &ROW),
        in_flight: 1,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => check(),
        ["update"] => update(),
        ["serve"] => {
            serve();
            Ok(())
        }
        _ => Err("the only argument is `update`".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves two connections for each load.
fn serve() {
    let model = graphs::identity(16);
    let path = DataPath::start(Arc::new(EchoEngine), &[("identity", &model)]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");

    for load in LOADS {
        for requests in [REQUESTS, 2 * REQUESTS] {
            let (socket, served) = runtime.block_on(async { path.connect() });
            let client = std::thread::spawn(move || {
                let mut client = WireClient::open(socket, (load.call)());
                for _ in 0..(WARM + requests) / load.in_flight {
                    client.exchange(load.in_flight);
                }
            });
            counted_until_closed(&runtime, Box::pin(served));
            client.join().expect("answered");
        }
    }
}

/// What callgrind counts, by its name.
#[inline(never)]
fn counted_until_closed(runtime: &Runtime, served: Pin<Box<dyn Future<Output = ()>>>) {
    runtime.block_on(served);
}

/// Compares what is counted with the file.
fn check() -> Result<(), AnyError> {
    let compiler = compiler()?;
    let figures = read_figures()?;
    let known = figures.get(&compiler).ok_or_else(|| {
        format!("{FIGURES} has no figures of {compiler}; add them with\n  {COMMAND}")
    })?;

    let mut broken = false;
    for (load, found) in LOADS.iter().zip(count()?) {
        let known = known[load.name].as_f64().unwrap_or(0.0);
        let change = (found / known - 1.0) * 100.0;
        println!(
            "{}: {found:.0} instructions, {known:.0} in the file ({change:+.1} %)",
            load.name
        );
        broken |= found > known * MORE_MAX;
    }
    match broken {
        true => Err(format!(
            "a request needs over 5 % more instructions than {FIGURES} says; if that is intended, run\n  {COMMAND}"
        )
        .into()),
        false => Ok(()),
    }
}

/// Writes what is counted to the file, beside the figures of other compilers.
fn update() -> Result<(), AnyError> {
    let mut counted = Map::new();
    for (load, found) in LOADS.iter().zip(count()?) {
        let found = found.round();
        println!("{}: {found} instructions", load.name);
        counted.insert(load.name.to_owned(), json!(found as u64));
    }
    let mut figures = read_figures().unwrap_or_default();
    figures.insert("about".to_owned(), ABOUT.into());
    figures.insert("command".to_owned(), COMMAND.into());
    figures.insert(compiler()?, counted.into());
    let text = serde_json::to_string_pretty(&Value::from(figures))?;
    Ok(std::fs::write(FIGURES, text + "\n")?)
}

fn read_figures() -> Result<Map<String, Value>, AnyError> {
    Ok(serde_json::from_slice(&std::fs::read(FIGURES)?)?)
}

/// The compiler that built this program, and the processor it built for.
fn compiler() -> Result<String, AnyError> {
    let told = Command::new("rustc").arg("--version").output()?;
    let version = String::from_utf8(told.stdout)?;
    let number = version.split(' ').nth(1).ok_or("rustc has no version")?;
    Ok(format!("rustc {number} {}", std::env::consts::ARCH))
}

/// Counts the instructions of one request of each load.
fn count() -> Result<Vec<f64>, AnyError> {
    let folder = tempfile::tempdir()?;
    let program = stripped(folder.path())?;
    let out = folder.path().join("out");
    run_counted(&program, &out)?;

    let mut totals = Vec::new();
    for dump in 1..=2 * LOADS.len() {
        let text = std::fs::read_to_string(out.with_extension(dump.to_string()))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        totals.push(total.ok_or("callgrind counted nothing")?.parse::<f64>()?);
    }
    let each = totals.chunks_exact(2).map(|pair| pair[1] - pair[0]);
    Ok(each.map(|more| more / REQUESTS as f64).collect())
}

/// Copies this program without what debuggers need, which valgrind would read first, for seconds.
fn stripped(folder: &Path) -> Result<PathBuf, AnyError> {
    let program = folder.join("program");
    let stripped = Command::new("strip")
        .arg("--strip-debug")
        .arg("-o")
        .args([&program, &std::env::current_exe()?])
        .status()?;
    match stripped.success() {
        true => Ok(program),
        false => Err("strip failed".into()),
    }
}

/// Runs the program under callgrind, which writes what it counted after each connection.
fn run_counted(program: &Path, out: &Path) -> Result<(), AnyError> {
    let name = "instructions::counted_until_closed";
    let ran = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--toggle-collect={name}"))
        .arg(format!("--dump-after={name}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .arg("serve")
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}; install it"))?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ran.stderr).into()),
    }
}
