//! Supervises a training program from a process of its own: sets limits, keeps a
//! deadline, reads unlimited output but keeps only the last of it, and kills all
//! leftover processes. Ends the program when the trainer ends.

use ortus::core::error::{Error, Result};
use ortus::sandbox::limits;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The hidden subcommand that starts the guard.
pub(crate) const SUBCOMMAND: &str = "guard";
/// The last bytes of output that are kept, for each of the two streams.
const SAID_MAX: usize = 8 << 10;
/// How often the program is checked.
const LOOK: Duration = Duration::from_millis(5);
/// How long leftover processes are killed; a fork bomb may outrun that.
const CLEARING: Duration = Duration::from_secs(20);
/// How long the guard waits for the last output.
const HEARING: Duration = Duration::from_secs(5);
/// The most bytes of an order or a verdict.
const WORDS_MAX: u64 = 4 << 20;

/// The program to run, with its limits.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
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
pub(super) enum Ended {
    Code(i32),
    Signal(i32),
    /// It was killed at its deadline.
    Late,
    /// It did not start.
    NotStarted,
}

/// The result of an order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub ended: Ended,
    /// The last output.
    pub said: String,
    /// The bytes of output.
    pub said_bytes: usize,
    /// Leftover processes, which were killed.
    pub left: usize,
    pub seconds: f64,
}

/// Runs an order under a guard. The program has ended when this returns.
pub(super) fn run_guarded(order: &Order) -> Result<Verdict> {
    let failed = |what: &str| {
        let what = format!("{what} the guard of a program");
        move |e: std::io::Error| Error::unavailable(what).with_source(e)
    };
    // Our environment may hold credentials, and the program runs as the same user.
    limits::hide();
    let mut child = Command::new(ortus::onnx::first_run::OWN_PROGRAM)
        .arg(SUBCOMMAND)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        // A terminal's interrupt must not end the guard, which has processes to kill.
        .process_group(0)
        .spawn()
        .map_err(failed("start"))?;
    let mut input = child
        .stdin
        .take()
        .ok_or_else(|| Error::internal("a guard has no input"))?;
    let output = child
        .stdout
        .take()
        .ok_or_else(|| Error::internal("a guard has no output"))?;
    let mut text =
        serde_json::to_vec(order).map_err(|e| Error::internal("write an order").with_source(e))?;
    text.push(b'\n');
    let told = input.write_all(&text).and_then(|()| input.flush());
    // The input stays open: its end tells the guard that the trainer is gone.
    let hearing = std::thread::spawn(move || {
        let mut said = Vec::new();
        output.take(WORDS_MAX).read_to_end(&mut said).map(|_| said)
    });
    let until = Instant::now() + order.deadline + CLEARING + HEARING * 2;
    while !hearing.is_finished() && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
    drop(input);
    if !hearing.is_finished() {
        // It was stopped or hangs; its program ends with it.
        let _ = child.kill();
        let _ = child.wait();
        return Err(Error::late(
            "the guard of a program did not exit in time, and was killed",
        ));
    }
    let status = child.wait().map_err(failed("wait for"))?;
    told.map_err(failed("tell"))?;
    let heard = hearing
        .join()
        .map_err(|_| Error::internal("read from the guard of a program"))?;
    let said = heard.map_err(failed("hear"))?;
    let verdict = serde_json::from_slice(&said)
        .ok()
        .filter(|_| status.success());
    verdict.ok_or_else(|| {
        Error::unavailable(format!(
            "the guard of a program ended without a verdict ({status})"
        ))
    })
}

/// Runs the guard: reads an order, runs it, and prints the verdict.
pub(crate) fn run() -> Result<()> {
    let malformed = || Error::invalid("the guard cannot read its order");
    let mut input = BufReader::new(std::io::stdin());
    let mut line = Vec::new();
    input
        .by_ref()
        .take(WORDS_MAX)
        .read_until(b'\n', &mut line)
        .map_err(|_| malformed())?;
    let order: Order = serde_json::from_slice(&line).map_err(|_| malformed())?;
    let is_alone = Arc::new(AtomicBool::new(false));
    let trainer_ended = is_alone.clone();
    std::thread::spawn(move || {
        let _ = input.read_to_end(&mut Vec::new());
        trainer_ended.store(true, Ordering::Relaxed);
    });
    limits::adopt()?;
    let verdict = watch(&order, &is_alone);
    let text = serde_json::to_vec(&verdict)
        .map_err(|e| Error::internal("print a verdict").with_source(e))?;
    std::io::stdout()
        .write_all(&text)
        .map_err(|e| Error::internal("print a verdict").with_source(e))
}

fn watch(order: &Order, is_alone: &AtomicBool) -> Verdict {
    let begun = Instant::now();
    let (program, arguments) = order
        .program
        .split_first()
        .map_or(("", &[][..]), |(p, rest)| (p.as_str(), rest));
    let mut command = Command::new(program);
    limits::bound(&mut command, order.memory_max, order.file_max);
    let started = command
        .args(arguments)
        .current_dir(&order.folder)
        .env_clear()
        .envs(&order.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            let said = error.to_string();
            return Verdict {
                ended: Ended::NotStarted,
                said,
                said_bytes: 0,
                left: 0,
                seconds: 0.0,
            };
        }
    };
    drop(command);
    let heard = Arc::new(AtomicUsize::new(0));
    let output = child
        .stdout
        .take()
        .map(|stream| listen(stream, heard.clone()));
    let errors = child
        .stderr
        .take()
        .map(|stream| listen(stream, heard.clone()));
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break of(status),
            Ok(None) if begun.elapsed() < order.deadline && !is_alone.load(Ordering::Relaxed) => {
                std::thread::sleep(LOOK);
            }
            _ => break Ended::Late,
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    // If the program exited by itself, the remaining processes were left over.
    let left = clear().saturating_sub(usize::from(ended == Ended::Late));
    let until = Instant::now() + HEARING;
    let text = |listened: Option<JoinHandle<VecDeque<u8>>>| {
        let listened = listened.filter(|thread| {
            // A process that survives could hold the stream open for ever.
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
            thread.is_finished()
        });
        let bytes: Vec<u8> = listened
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
            .into();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let said = text(output) + &text(errors);
    Verdict {
        ended,
        said,
        said_bytes: heard.load(Ordering::Relaxed),
        left,
        seconds,
    }
}

fn of(status: ExitStatus) -> Ended {
    status
        .signal()
        .map_or_else(|| Ended::Code(status.code().unwrap_or(-1)), Ended::Signal)
}

/// Reads a stream to its end, and keeps the last bytes.
fn listen(
    mut stream: impl Read + Send + 'static,
    heard: Arc<AtomicUsize>,
) -> JoinHandle<VecDeque<u8>> {
    std::thread::spawn(move || {
        let mut kept = VecDeque::new();
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut part) {
            heard.fetch_add(count, Ordering::Relaxed);
            kept.extend(&part[..count]);
            kept.drain(..kept.len().saturating_sub(SAID_MAX));
        }
        kept
    })
}

/// Kills all descendants until there are none; returns their number.
fn clear() -> usize {
    let until = Instant::now() + CLEARING;
    let mut ended = std::collections::BTreeSet::new();
    loop {
        let below = below(std::process::id());
        below.iter().for_each(|process| limits::end(*process));
        ended.extend(below);
        // Orphans are reparented to the guard, and found in the next pass.
        if !limits::reap() || Instant::now() > until {
            return ended.len();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The descendants of a process, zombies excluded.
fn below(root: u32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<(i32, bool)>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name in parentheses may hold any text; the fields after it do not.
        let Some((_, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let mut words = rest.split_whitespace();
        let is_dead = words.next() == Some("Z");
        let Some(parent) = words.next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        children.entry(parent).or_default().push((process, is_dead));
    }
    let (mut found, mut next) = (Vec::new(), vec![root.cast_signed()]);
    while let Some(parent) = next.pop() {
        for (process, is_dead) in children.remove(&parent).unwrap_or_default() {
            next.push(process);
            if !is_dead {
                found.push(process);
            }
        }
    }
    found
}
