//! Reads one version into memory: bytes, graph and digest. Checks that external
//! data is inside the version's folder; the caller checks that no file changed
//! meanwhile.

use super::{Loaded, walk};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::hash::{Digest, Hasher};
use crate::onnx::graph::{self, Graph};
use crate::registry::manifest::{
    BASELINE_BYTES_MAX, BASELINE_PATH, COMPANION_BYTES_MAX, COMPANION_PATH, GOLDEN_BYTES_MAX,
    GOLDEN_PATH,
};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Reads the model at `model_path` in `folder`; both are inside `root`.
pub(super) fn load(root: &Path, folder: &Path, model_path: &Path) -> Result<Loaded> {
    let path = walk::inside(root, model_path)?.filter(|path| path.is_file());
    let path = path
        .ok_or_else(|| Error::precondition("the model is not a file inside the model directory"))?;
    graph::check_size(
        path.metadata()
            .map_err(|e| walk::failed("inspect the model", e))?
            .len(),
    )?;

    let bytes = whole(&path, graph::MODEL_BYTES_MAX)?;
    let graph = Graph::read(bytes.clone())?;
    let beside = |name: &str, bytes_max| -> Result<Option<Bytes>> {
        let path = walk::inside(root, &folder.join(name))?.filter(|path| path.is_file());
        path.map(|path| whole(&path, bytes_max)).transpose()
    };

    let golden = beside(GOLDEN_PATH, GOLDEN_BYTES_MAX)?;
    let baseline = beside(BASELINE_PATH, BASELINE_BYTES_MAX)?;
    let companion = beside(COMPANION_PATH, COMPANION_BYTES_MAX)?;
    let features = Vec::new();
    let used = |digest: Digest| used(digest, &[&golden, &baseline, &companion]);
    if graph.external.is_empty() {
        let digest = Digest::of(&bytes);
        return Ok(Loaded {
            bytes,
            path,
            graph,
            digest,
            used: used(digest),
            file_digest: digest,
            external_dir: None,
            golden,
            baseline,
            companion,
            features,
        });
    }

    let mut hash = Hasher::default();
    let name = model_path.file_name().map(Path::new).unwrap_or(model_path);
    head(&mut hash, name, bytes.len() as u64);
    hash.update(&bytes);
    for location in &graph.external {
        let path = external(folder, location)?;
        let context = |e: Error| {
            e.context(format!(
                "external data '{}'",
                short(&location.to_string_lossy())
            ))
        };
        add(&mut hash, location, &path).map_err(context)?;
    }

    let digest = hash.finish();
    // Quick: most of the weights are in the other files.
    let file_digest = Digest::of(&bytes);
    let external_dir = Some(folder.to_owned());
    Ok(Loaded {
        bytes,
        path,
        graph,
        digest,
        used: used(digest),
        file_digest,
        external_dir,
        golden,
        baseline,
        companion,
        features,
    })
}

/// Adds the files beside a model to its digest.
fn used(model: Digest, beside: &[&Option<Bytes>]) -> Digest {
    let digests = beside.iter().map(|file| {
        file.as_deref()
            .map(Digest::of)
            .map_or_else(String::new, |d| d.hex())
    });
    let all: Vec<String> = std::iter::once(model.hex()).chain(digests).collect();
    Digest::of(all.join(" ").as_bytes())
}

/// Reads a file of at most `bytes_max`; the limit holds even if it grows.
pub(super) fn whole(path: &Path, bytes_max: u64) -> Result<Bytes> {
    let read = || -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let mut bytes = Vec::with_capacity(
            usize::try_from(file.metadata()?.len().min(bytes_max)).unwrap_or_default(),
        );
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };

    let bytes = read().map_err(|e| walk::failed("read a file", e))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::invalid(format!(
            "the file is over {bytes_max} bytes"
        )));
    }

    Ok(bytes.into())
}

/// Finds a file of external data. It must be a regular file whose real place
/// is in the version's folder: the runtime reads it by this path.
fn external(folder: &Path, location: &Path) -> Result<PathBuf> {
    let name = location.to_string_lossy();
    let refuse = |why: &str| {
        Err(Error::precondition(format!(
            "external data '{}' {why}",
            short(&name)
        )))
    };

    let home = folder
        .canonicalize()
        .map_err(|e| walk::failed("inspect the version's folder", e))?;
    match folder.join(location).canonicalize() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => refuse("is missing"),
        Err(e) => Err(walk::failed("inspect external data", e)),
        Ok(target) if !target.starts_with(&home) => refuse("leads out of the version's folder"),
        Ok(target) if !target.is_file() => refuse("is not a regular file"),
        Ok(target) => Ok(target),
    }
}

fn head(hash: &mut Hasher, name: &Path, file_bytes: u64) {
    hash.update(name.as_os_str().as_encoded_bytes());
    hash.update(format!("\0{file_bytes}\0").as_bytes());
}

fn add(hash: &mut Hasher, name: &Path, path: &Path) -> Result<()> {
    let mut copy = || -> io::Result<bool> {
        let mut file = File::open(path)?;
        let expected = file.metadata()?.len();
        head(hash, name, expected);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut total = 0;
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(total == expected),
                n => {
                    hash.update(&chunk[..n]);
                    total += n as u64;
                }
            }
        }
    };

    match copy() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::unavailable("changed while it was read")),
        Err(e) => Err(walk::failed("read", e)),
    }
}
