//! The servers that are measured, started here and killed on drop.

use crate::Result;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server of ours; killed on drop.
pub(crate) struct Server {
    child: Child,
    /// Where it takes gRPC.
    pub address: String,
}

impl Server {
    /// Starts `command` and waits for its line `ready: …`.
    fn start(command: &mut Command, address: impl FnOnce(&str) -> Result<String>) -> Result<Self> {
        let child = command.stdout(Stdio::piped()).spawn()?;
        let mut server = Self {
            child,
            address: String::new(),
        };
        let mut line = String::new();
        BufReader::new(server.child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let rest = line
            .strip_prefix("ready: ")
            .ok_or_else(|| format!("the server did not get ready: {line:?}"))?;
        server.address = address(rest.trim())?;
        Ok(server)
    }

    /// Starts the tonic echo of this program.
    pub(crate) fn echo() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Self::start(command.args(["echo", "--grpc", "127.0.0.1:0"]), |line| {
            Ok(line.to_owned())
        })
    }

    /// Starts `program` over a model directory.
    pub(crate) fn ortus(program: &Path, models: &Path, library: Option<&Path>) -> Result<Self> {
        let ports =
            std::env::temp_dir().join(format!("ortus-loadtest-{}.json", std::process::id()));
        let mut command = Command::new(program);
        command
            .arg("serve")
            .arg("--models")
            .arg(models)
            .arg("--ports-file")
            .arg(&ports);
        for listener in ["--http", "--grpc", "--ops", "--operator"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command.args(["--log-level", "warn"]);
        if let Some(library) = library {
            command.arg("--ort-lib").arg(library);
        }
        Self::start(&mut command, |_| {
            let bound: Value = serde_json::from_slice(&std::fs::read(&ports)?)?;
            std::fs::remove_file(&ports)?;
            Ok(bound["grpc"]
                .as_str()
                .ok_or("the ports file names no gRPC port")?
                .to_owned())
        })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
