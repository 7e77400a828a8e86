//! A child process from its start to its end: it is waited for with a timeout,
//! and killed and reaped when its owner is done with it. A request goes in as
//! one line of JSON, an answer comes out as JSON, both up to a limit.
//!
//! Decides nothing about an answer: who asked does.

use super::output::OutputStream;
use crate::core::error::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, BufRead, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// This program, even if its file was replaced since it started.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Shortest and longest interval at which a running child is checked.
const CHECK_MIN: Duration = Duration::from_millis(1);
const CHECK_MAX: Duration = Duration::from_millis(20);
/// Time limit for the rest of the output of an ended child.
const OUTPUT_WAIT: Duration = Duration::from_secs(5);

/// A running child, which is killed and reaped when this is dropped.
#[derive(Debug)]
pub struct Supervised(Child);

impl Supervised {
    /// Starts a program.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// The child, for its streams.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Waits until the child ends. Returns `None` if it still runs after
    /// `timeout`, or as soon as `is_cancelled` returns true.
    pub fn wait(
        &mut self,
        timeout: Duration,
        is_cancelled: impl Fn() -> bool,
    ) -> io::Result<Option<ExitStatus>> {
        let begun = Instant::now();

        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            let elapsed = begun.elapsed();
            if elapsed >= timeout || is_cancelled() {
                return Ok(None);
            }
            // The interval grows: the end of a short run is noticed soon, and a long run costs few
            // checks.
            std::thread::sleep((elapsed / 64).clamp(CHECK_MIN, CHECK_MAX));
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // Both do nothing if the child has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A request to a child process.
#[derive(Clone, Copy, Debug)]
pub struct ChildRequest<'r> {
    /// The line of JSON and what follows it.
    pub input: &'r [&'r [u8]],
    /// Time limit of the child.
    pub timeout: Duration,
    /// Most bytes of its answer.
    pub answer_bytes_max: u64,
}

/// The answer of a child.
#[derive(Debug)]
pub struct ChildAnswer {
    /// Its exit status; none if it took too long and was killed.
    pub status: Option<ExitStatus>,
    /// The first bytes of its standard output.
    pub output: Vec<u8>,
}

/// Starts a program, sends it a request and waits for its answer. Its standard
/// input stays open until it ends, so the child can tell that this process is
/// gone by the end of its input.
pub fn exchange(command: &mut Command, request: &ChildRequest<'_>) -> io::Result<ChildAnswer> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Supervised::spawn(command)?;
    let missing = || io::Error::other("the child process has no pipe");
    let input = child.child().stdin.take().ok_or_else(missing)?;
    let output = child.child().stdout.take().ok_or_else(missing)?;
    let output = OutputStream::head(output, request.answer_bytes_max);

    let status = std::thread::scope(|scope| {
        // A child that reads nothing would block a writer for ever; killing it ends the write.
        let writing = scope.spawn(|| send(input, request.input));
        let status = child.wait(request.timeout, || false);
        drop(child);
        // A child that ends early closes its input; its exit status says why.
        drop(writing.join());
        status
    })?;

    let kept = output.finish(Instant::now() + OUTPUT_WAIT);
    Ok(ChildAnswer {
        status,
        output: kept.map(|kept| kept.bytes).unwrap_or_default(),
    })
}

/// Returns the input, so that it stays open.
fn send(mut input: ChildStdin, parts: &[&[u8]]) -> (ChildStdin, io::Result<()>) {
    let sent = parts
        .iter()
        .try_for_each(|part| input.write_all(part))
        .and_then(|()| input.flush());
    (input, sent)
}

/// Writes a request as one line of JSON.
pub fn request_line(request: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request)
        .map_err(|e| Error::internal("write the request to a child process").with_source(e))?;
    line.push(b'\n');
    Ok(line)
}

/// Reads a request, in the child: one line of JSON of at most `bytes_max` bytes.
pub fn read_request<T: DeserializeOwned>(input: &mut impl BufRead, bytes_max: u64) -> Result<T> {
    let mut line = Vec::new();
    input
        .take(bytes_max)
        .read_until(b'\n', &mut line)
        .map_err(|e| {
            Error::invalid("the request on standard input is unreadable").with_source(e)
        })?;
    serde_json::from_slice(&line).map_err(|e| {
        Error::invalid("the request on standard input is not one that this program writes")
            .with_source(e)
    })
}

/// Writes the answer to standard output, in the child.
pub fn write_answer(answer: &impl Serialize) -> Result<()> {
    let failed =
        |e: io::Error| Error::internal("write the answer of a child process").with_source(e);
    let text = serde_json::to_vec(answer).map_err(|e| failed(e.into()))?;
    io::stdout().write_all(&text).map_err(failed)
}

#[cfg(test)]
mod tests;
