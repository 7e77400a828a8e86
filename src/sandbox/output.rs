//! Output of a child process, read on a thread of its own so that a full pipe
//! never blocks the child, and kept only up to a limit. Does not interpret it.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::Read;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a reader is checked for its end.
const CHECK: Duration = Duration::from_millis(1);

/// The kept output of one stream.
#[derive(Debug, Default)]
pub struct KeptOutput {
    /// The bytes that were kept.
    pub bytes: Vec<u8>,
    /// How many bytes the stream carried, as far as it was read.
    pub total_bytes: usize,
}

/// A stream that is being read.
#[derive(Debug)]
pub struct OutputStream(JoinHandle<KeptOutput>);

impl OutputStream {
    /// Reads the first `bytes_max` bytes of a stream and ignores the rest.
    pub fn head(stream: impl Read + Send + 'static, bytes_max: u64) -> Self {
        Self(std::thread::spawn(move || read_head(stream, bytes_max)))
    }

    /// Reads a stream to its end and keeps the last `bytes_max` bytes.
    pub fn tail(stream: impl Read + Send + 'static, bytes_max: usize) -> Self {
        Self(std::thread::spawn(move || read_tail(stream, bytes_max)))
    }

    /// Returns the kept output, or `None` if the stream did not end by `until`: a process that
    /// could not be killed may hold it open for ever.
    pub fn finish(self, until: Instant) -> Option<KeptOutput> {
        while !self.0.is_finished() && Instant::now() < until {
            std::thread::sleep(CHECK);
        }
        if !self.0.is_finished() {
            return None;
        }
        self.0.join().ok()
    }
}

fn read_head(stream: impl Read, bytes_max: u64) -> KeptOutput {
    let mut bytes = Vec::new();
    // A broken stream ends there; the exit status of the process says why.
    let _ = stream.take(bytes_max).read_to_end(&mut bytes);
    KeptOutput {
        total_bytes: bytes.len(),
        bytes,
    }
}

fn read_tail(mut stream: impl Read, bytes_max: usize) -> KeptOutput {
    let mut last = VecDeque::new();
    let mut total_bytes = 0;
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut part) {
        total_bytes += count;
        last.extend(&part[..count]);
        last.drain(..last.len().saturating_sub(bytes_max));
    }

    KeptOutput {
        bytes: last.into(),
        total_bytes,
    }
}
