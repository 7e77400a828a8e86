//! Temporary folders: those of a process lie in one folder, which is removed when
//! the process is terminated, or by the next process that starts.

#[cfg(test)]
mod tests;

use ortus::core::error::{Error, Result};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// The prefix of the folder of a process, before its id.
const NAME: &str = "ortus-trainer-";

fn root() -> PathBuf {
    std::env::temp_dir().join(format!("{NAME}{}", std::process::id()))
}

/// Returns a new folder, which is removed on drop.
pub(crate) fn folder() -> Result<TempDir> {
    let root = root();
    let made = std::fs::create_dir_all(&root).and_then(|()| tempfile::tempdir_in(&root));
    made.map_err(|e| {
        Error::unavailable(format!("make a folder below {}", root.display())).with_source(e)
    })
}

/// Removes the folders of processes that ended, and on termination the folder of
/// this one.
pub(crate) fn begin() {
    sweep(&std::env::temp_dir());
    std::thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        else {
            return;
        };
        let code = runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            ) else {
                return None;
            };
            tokio::select! {
                _ = interrupt.recv() => Some(128 + SignalKind::interrupt().as_raw_value()),
                _ = terminate.recv() => Some(128 + SignalKind::terminate().as_raw_value()),
            }
        });
        if let Some(code) = code {
            // A running program is killed by its guard.
            let _ = std::fs::remove_dir_all(root());
            std::process::exit(code);
        }
    });
}

fn sweep(below: &Path) {
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(NAME))
            .and_then(|n| n.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // A folder of another user is left alone.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
