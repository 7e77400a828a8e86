//! The folder of the demonstration, and its processes: this program as server
//! and as trainer, with their logs.

use ortus::core::error::{Error, Result};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// This program, even if its file was replaced while it runs.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// A process that is killed with the demonstration.
pub(super) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The folder of the demonstration.
pub(super) struct DemoFolder {
    pub folder: PathBuf,
    pub is_offline: bool,
}

impl DemoFolder {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn registry(&self) -> String {
        format!("file://{}", self.path("registry").display())
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        let failed = |e| Error::precondition(format!("write {}", path.display())).with_source(e);
        std::fs::write(&path, text).map_err(failed)?;
        Ok(path)
    }

    /// Returns a command of this program, with its errors in a log.
    pub(super) fn ortus(&self, arguments: &[&str], log: &str) -> Result<Command> {
        let failed = |e| Error::precondition(format!("write {log}")).with_source(e);
        let file = File::options()
            .append(true)
            .create(true)
            .open(self.path(log))
            .map_err(failed)?;
        let mut command = Command::new(OWN_PROGRAM);

        command
            .args(arguments)
            .stderr(file)
            .env("XDG_STATE_HOME", self.path("state"));
        if self.is_offline {
            command.env("ORTUS_RUNTIME__OFFLINE", "true");
        }

        Ok(command)
    }

    /// Runs a command to its end; returns its output.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String> {
        let failed = |e| Error::internal("start this program again").with_source(e);
        let output = self
            .ortus(arguments, "commands.log")?
            .output()
            .map_err(failed)?;
        if !output.status.success() {
            let log = self.path("commands.log");
            return Err(Error::internal(format!(
                "{} failed; see {}",
                arguments.join(" "),
                log.display()
            )));
        }

        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(super) fn start(&self, arguments: &[&str], log: &str) -> Result<Running> {
        let failed = |e| Error::internal("start this program again").with_source(e);
        let output = File::options()
            .append(true)
            .create(true)
            .open(self.path(log))
            .map_err(failed)?;
        self.ortus(arguments, log)?
            .stdin(Stdio::null())
            .stdout(output)
            .spawn()
            .map(Running)
            .map_err(failed)
    }
}
