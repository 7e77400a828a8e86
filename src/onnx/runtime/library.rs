//! Finds the ONNX Runtime shared library, or downloads the pinned version with pip
//! into the user's cache. Refuses a file that is not ONNX Runtime, too old, or
//! built for another machine.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that is downloaded.
pub(crate) const PINNED: &str = "1.28.0";
/// The oldest minor version of 1.x that is accepted.
pub(crate) const MINOR_MIN: u32 = 24;

const FILE: &str = "libonnxruntime.so";

/// SHA-256 of the pinned Python package, by machine.
const PACKAGES: [(&str, &str); 2] = [
    (
        "x86_64",
        "0a83bdb70d143cede762b677789bf2a7acca54b3fb82565601d5c30695aa933c",
    ),
    (
        "aarch64",
        "4e81a23df16e7acb9d51b06d30cc098e49315ef9180f97bc2221d167b4b04d9c",
    ),
];

/// A place the library is looked for.
#[derive(Clone, Debug)]
pub(crate) struct LibraryPlace {
    /// Where the path comes from: `config`, `ORT_DYLIB_PATH`, …
    pub origin: &'static str,
    /// The file.
    pub path: PathBuf,
}

/// Lists the paths in the order in which they are tried.
pub(crate) fn places(configured: Option<&Path>) -> Vec<LibraryPlace> {
    let mut all = Vec::new();
    if let Some(path) = configured {
        all.push(LibraryPlace {
            origin: "config runtime.library",
            path: path.to_owned(),
        });
    }

    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()) {
        all.push(LibraryPlace {
            origin: "ORT_DYLIB_PATH",
            path: path.into(),
        });
    }

    if let Some(folder) = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_owned))
    {
        all.push(LibraryPlace {
            origin: "beside the executable",
            path: folder.join(FILE),
        });
        all.push(LibraryPlace {
            origin: "beside the executable",
            path: folder.join("../lib").join(FILE),
        });
    }

    if let Some(path) = cached() {
        all.push(LibraryPlace {
            origin: "user cache",
            path,
        });
    }

    all
}

/// The folder `ortus` in the user's cache directory.
pub(crate) fn user_cache() -> Option<PathBuf> {
    let home = || {
        std::env::var_os("HOME")
            .filter(|h| !h.is_empty())
            .map(|h| PathBuf::from(h).join(".cache"))
    };

    let base = std::env::var_os("XDG_CACHE_HOME")
        .filter(|c| !c.is_empty())
        .map(PathBuf::from)
        .or_else(home)?;
    Some(base.join("ortus"))
}

fn cached() -> Option<PathBuf> {
    Some(
        user_cache()?
            .join(format!("onnxruntime-{PINNED}"))
            .join(FILE),
    )
}

/// Finds the library. Downloads it if there is none, unless `offline` forbids it.
/// `say` receives progress lines for a person.
pub(crate) fn locate(
    configured: Option<&Path>,
    offline: bool,
    say: &dyn Fn(&str),
) -> Result<PathBuf> {
    for place in places(configured) {
        // A configured path must work; the others may not exist.
        let named = matches!(place.origin, "config runtime.library" | "ORT_DYLIB_PATH");
        if named || place.path.exists() {
            check(&place.path).map_err(|e| e.context(place.origin))?;
            return fs::canonicalize(&place.path)
                .map_err(|e| Error::internal("resolve the library's path").with_source(e));
        }
    }

    if offline {
        let tried: Vec<String> = places(configured)
            .iter()
            .map(|p| format!("{} ({})", p.path.display(), p.origin))
            .collect();
        return Err(Error::precondition(format!(
            "no ONNX Runtime found and --offline forbids fetching it; run `ortus runtime install` where there is a \
             network, or set ORT_DYLIB_PATH to a libonnxruntime.so of 1.{MINOR_MIN} or newer; looked at {}",
            tried.join(", ")
        )));
    }

    install(say)
}

/// Refuses a file that is not a usable ONNX Runtime; returns its minor version.
pub(crate) fn check(path: &Path) -> Result<u32> {
    let shown = path.display();
    let mut head = [0_u8; 20];
    fs::File::open(path)
        .and_then(|mut f| f.read_exact(&mut head))
        .map_err(|e| {
            Error::precondition(format!("{shown} cannot be read as a shared library"))
                .with_source(e)
        })?;
    if head[..4] != *b"\x7fELF" {
        return Err(Error::precondition(format!(
            "{shown} is not a shared library"
        )));
    }

    let machine = u16::from_le_bytes([head[18], head[19]]);
    let wanted = if cfg!(target_arch = "aarch64") {
        183
    } else {
        62
    };

    if head[4] != 2 || machine != wanted {
        return Err(Error::precondition(format!(
            "{shown} is built for another machine than {}",
            std::env::consts::ARCH
        )));
    }

    match ort::util::probe(path) {
        None => Err(Error::precondition(format!(
            "{shown} is not ONNX Runtime 1.x, or one of its own libraries is missing"
        ))),
        Some(minor) if minor < MINOR_MIN => Err(Error::precondition(format!(
            "{shown} is ONNX Runtime 1.{minor}; 1.{MINOR_MIN} or newer is needed"
        ))),
        Some(minor) => Ok(minor),
    }
}

/// Downloads the pinned library into the user's cache.
pub(crate) fn install(say: &dyn Fn(&str)) -> Result<PathBuf> {
    let target =
        cached().ok_or_else(|| Error::precondition("neither XDG_CACHE_HOME nor HOME is set"))?;
    if target.exists() {
        check(&target)?;
        return Ok(target);
    }

    let arch = std::env::consts::ARCH;
    let (_, hash) = PACKAGES.iter().find(|(a, _)| *a == arch).ok_or_else(|| {
        Error::precondition(format!(
            "there is no pinned ONNX Runtime for {arch}; set ORT_DYLIB_PATH"
        ))
    })?;

    say(&format!(
        "fetching ONNX Runtime {PINNED} (about 20 MB) with pip into {}",
        target.display()
    ));
    let folder = target
        .parent()
        .ok_or_else(|| Error::internal("the cache path has no folder"))?;
    let io = |what: &'static str| move |e: std::io::Error| Error::precondition(what).with_source(e);
    fs::create_dir_all(folder).map_err(io("create the cache folder"))?;
    let staging = tempfile::tempdir_in(folder).map_err(io("create a folder in the cache"))?;
    let wanted = staging.path().join("requirements.txt");
    fs::write(
        &wanted,
        format!("onnxruntime=={PINNED} --hash=sha256:{hash}\n"),
    )
    .map_err(io("write to the cache"))?;

    download(&wanted, staging.path(), arch)?;
    let package = unpack(staging.path())?;
    let library = fs::read(&package).map_err(io("read the unpacked library"))?;
    let digest = Digest::of(&library).hex();
    check(&package)?;
    // Renaming makes the file appear complete or not at all, even if another
    // process installs it too.
    fs::rename(&package, &target).map_err(io("put the library into place"))?;
    say(&format!("installed {} (sha256 {digest})", target.display()));
    Ok(target)
}

fn download(requirements: &Path, into: &Path, arch: &str) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
    ])
    .args([
        "--implementation",
        "cp",
        "--python-version",
        "3.12",
        "--abi",
        "cp312",
    ])
    .args([
        "--platform",
        &format!("manylinux_2_28_{arch}"),
        "--platform",
        &format!("manylinux_2_27_{arch}"),
    ])
    .args(["--disable-pip-version-check", "-r"])
    .arg(requirements)
    .arg("-d")
    .arg(into);

    run(
        pip,
        "fetch ONNX Runtime with `python3 -m pip download` (is pip installed, is there a network?)",
    )
}

/// Unzips the one wheel in `folder`; returns the library's path.
fn unpack(folder: &Path) -> Result<PathBuf> {
    let io = |e: std::io::Error| Error::precondition("read the fetched package").with_source(e);
    let wheel = fs::read_dir(folder)
        .map_err(io)?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| Error::precondition("pip fetched no package"))?;
    let mut unzip = Command::new("python3");

    unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder);
    run(unzip, "unpack the fetched package")?;
    let library = folder
        .join("onnxruntime/capi")
        .join(format!("{FILE}.{PINNED}"));
    if library.is_file() {
        Ok(library)
    } else {
        Err(Error::precondition("the fetched package holds no library"))
    }
}

fn run(mut command: Command, what: &str) -> Result<()> {
    let output = command
        .output()
        .map_err(|e| Error::precondition(what).with_source(e))?;
    if output.status.success() {
        return Ok(());
    }

    let said = String::from_utf8_lossy(&output.stderr);
    let last = said
        .lines()
        .rev()
        .find(|l| !l.trim().is_empty())
        .unwrap_or("no reason given")
        .to_owned();
    Err(Error::precondition(format!("{what}: {last}")))
}
