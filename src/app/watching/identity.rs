//! The identity of this server in a store that servers share: the same after a restart, and never that
//! of two living processes. A small file in the user's state folder holds it; the process holds a lock
//! on the file, which the system releases when the process ends, however it ends.

#[cfg(test)]
mod tests;

use super::records::user_state;
use crate::config::Config;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::observe::drift::keeping::ServerIdentity;
use crate::registry::servers;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Most servers of a machine with the same models, port and store.
const SAME_MAX: usize = 64;
/// Most bytes of a name.
const NAME_MAX: u64 = 256;

/// Takes the identity of this server.
pub(super) fn take(config: &Config) -> Result<ServerIdentity> {
    let folder = user_state()
        .ok_or_else(|| Error::precondition("neither XDG_STATE_HOME nor HOME is set"))?
        .join("servers");
    take_in(&folder, &role(config))
}

/// Returns what a restarted server has in common with the one before, and servers of other models or
/// of another port do not.
fn role(config: &Config) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let directory = config.models.directory.as_ref();
    let directory = directory.map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    let role = format!(
        "{}\n{directory:?}\n{:?}\n{}\n{}\n{:?}",
        host.trim(),
        config.registry.url,
        config.registry.namespace,
        config.server.http,
        config.records.store,
    );
    Digest::of(role.as_bytes()).hex()[..16].to_owned()
}

/// Takes the first identity of a role that no living process holds; makes one if there is none.
fn take_in(folder: &Path, role: &str) -> Result<ServerIdentity> {
    let failed = |error: std::io::Error| {
        Error::unavailable(format!("take a server identity in {}", folder.display()))
            .with_source(error)
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    for number in 0..SAME_MAX {
        let path = folder.join(format!("{role}-{number}"));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                let name = name_in(&file).map_err(failed)?;
                return Ok(ServerIdentity::new(name, Some(file)));
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    Err(Error::overloaded(format!(
        "{SAME_MAX} servers of this machine have the same models, port and store"
    )))
}

/// Reads the name in a locked file, or writes a new one into it.
fn name_in(mut file: &File) -> std::io::Result<String> {
    let mut known = String::new();
    file.take(NAME_MAX).read_to_string(&mut known)?;
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let known = known.trim();
    if !known.is_empty() && known.chars().all(is_legal) {
        return Ok(known.to_owned());
    }
    let name = servers::name();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(name.as_bytes())?;
    file.sync_all()?;
    Ok(name)
}
