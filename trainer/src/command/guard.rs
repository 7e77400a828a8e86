//! Runs a program that is not ours under a guard: a child process of the
//! trainer that sets limits, keeps the deadline, keeps the last part of the
//! program's output, and kills every process that the program leaves behind.
//! The program ends when the trainer ends.
//!
//! How processes are started, waited for and killed is `ortus::sandbox`'s.

use ortus::core::error::{Error, Result};
use ortus::sandbox::output::{KeptOutput, OutputStream};
use ortus::sandbox::supervise::{self, Supervised};
use ortus::sandbox::{limits, tree};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The hidden subcommand that the guard is started with.
pub(crate) const SUBCOMMAND: &str = "guard";
/// The last bytes that are kept of each of the program's two output streams.
const OUTPUT_BYTES_MAX: usize = 8 << 10;
/// Time limit on killing what the program left; a fork bomb may outrun it.
const KILL_WAIT: Duration = Duration::from_secs(20);
/// Time limit on reading the last output of an ended program.
const OUTPUT_WAIT: Duration = Duration::from_secs(5);
/// The longest order and verdict.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;

/// What to run, and its limits.
#[derive(Serialize, Deserialize)]
pub(super) struct GuardOrder {
    pub program: Vec<String>,
    pub folder: PathBuf,
    pub env: BTreeMap<String, String>,
    pub deadline: Duration,
    pub memory_max: u64,
    pub file_max: u64,
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ProgramEnd {
    Code(i32),
    Signal(i32),
    /// It was killed: it took longer than its deadline, or the trainer ended.
    Late,
    /// It could not be started.
    NotStarted,
}

/// The guard's report.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GuardReport {
    pub ended: ProgramEnd,
    /// The last part of the program's output, or why it could not be started.
    pub said: String,
    /// Length of the whole output.
    pub said_bytes: usize,
    /// Processes that the program left running, which were killed.
    pub left: usize,
    pub seconds: f64,
}

/// Runs an order under a guard. The program has ended when this returns.
pub(super) fn run_guarded(order: &GuardOrder) -> Result<GuardReport> {
    // Our environment may hold credentials, and the program runs as the same user.
    limits::hide();
    let line = supervise::request_line(order)?;
    let request = supervise::ChildRequest {
        input: &[&line],
        timeout: order.deadline + KILL_WAIT + OUTPUT_WAIT * 2,
        answer_bytes_max: MESSAGE_BYTES_MAX,
    };

    let answer = supervise::exchange(&mut guard_command(), &request)
        .map_err(|e| Error::unavailable("run the guard of a program").with_source(e))?;

    // A guard that is killed takes its program with it.
    let status = answer
        .status
        .ok_or_else(|| Error::late("the guard of a program did not end in time, and was killed"))?;
    let verdict = serde_json::from_slice(&answer.output)
        .ok()
        .filter(|_| status.success());
    verdict.ok_or_else(|| {
        Error::unavailable(format!(
            "the guard of a program ended without a verdict ({status})"
        ))
    })
}

fn guard_command() -> Command {
    let mut command = Command::new(supervise::OWN_PROGRAM);
    command
        .arg(SUBCOMMAND)
        .env_clear()
        .stderr(Stdio::inherit())
        // An interrupt of the trainer at a terminal must not end the guard: it has to clean up.
        .process_group(0);
    command
}

/// Runs as the guard.
pub(crate) fn run() -> Result<()> {
    let mut input = BufReader::new(io::stdin());
    let order: GuardOrder = supervise::read_request(&mut input, MESSAGE_BYTES_MAX)?;

    let trainer_ended = Arc::new(AtomicBool::new(false));
    let ended = trainer_ended.clone();
    std::thread::spawn(move || {
        // The trainer keeps this open for as long as it runs.
        let _ = input.read_to_end(&mut Vec::new());
        ended.store(true, Ordering::Relaxed);
    });

    limits::adopt_orphans()?;
    supervise::write_answer(&guard(&order, &trainer_ended))
}

fn guard(order: &GuardOrder, trainer_ended: &AtomicBool) -> GuardReport {
    let begun = Instant::now();
    let mut program = match Supervised::spawn(&mut program_command(order)) {
        Ok(program) => program,
        Err(error) => return GuardReport::not_started(&error),
    };
    let streams = program.child();
    let output = streams.stdout.take().map(keep_last);
    let errors = streams.stderr.take().map(keep_last);

    let status = program.wait(order.deadline, || trainer_ended.load(Ordering::Relaxed));
    let seconds = begun.elapsed().as_secs_f64();
    let ended = status
        .ok()
        .flatten()
        .map_or(ProgramEnd::Late, ProgramEnd::of);

    // The program itself is killed first, so that only what it left is counted.
    drop(program);
    let left = tree::kill_descendants(KILL_WAIT);

    let until = Instant::now() + OUTPUT_WAIT;
    let output = finish(output, until);
    let errors = finish(errors, until);
    GuardReport {
        ended,
        said: text(&output) + &text(&errors),
        said_bytes: output.total_bytes + errors.total_bytes,
        left,
        seconds,
    }
}

fn program_command(order: &GuardOrder) -> Command {
    let (program, arguments) = order
        .program
        .split_first()
        .map_or(("", &[][..]), |(p, rest)| (p.as_str(), rest));

    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&order.folder)
        .env_clear()
        .envs(&order.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    limits::limit_command(&mut command, order.memory_max, order.file_max);

    command
}

fn keep_last(stream: impl Read + Send + 'static) -> OutputStream {
    OutputStream::tail(stream, OUTPUT_BYTES_MAX)
}

fn finish(output: Option<OutputStream>, until: Instant) -> KeptOutput {
    output
        .and_then(|output| output.finish(until))
        .unwrap_or_default()
}

fn text(kept: &KeptOutput) -> String {
    String::from_utf8_lossy(&kept.bytes).into_owned()
}

impl GuardReport {
    fn not_started(error: &io::Error) -> Self {
        Self {
            ended: ProgramEnd::NotStarted,
            said: error.to_string(),
            said_bytes: 0,
            left: 0,
            seconds: 0.0,
        }
    }
}

impl ProgramEnd {
    fn of(status: ExitStatus) -> Self {
        let code = Self::Code(status.code().unwrap_or(-1));
        status.signal().map_or(code, Self::Signal)
    }
}
