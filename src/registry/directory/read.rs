//! Reads one version into memory: bytes, graph and digest. Checks that external
//! data is inside the version's folder; the caller checks that no file changed
//! meanwhile.

use super::copies::{self, Copies, PrivateFolder};
use super::walk::{Links, Root};
use super::{Loaded, walk};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::hash::{Digest, Hasher};
use crate::onnx::graph::{self, Graph};
use crate::registry::manifest::{
    BASELINE_BYTES_MAX, BASELINE_PATH, COMPANION_BYTES_MAX, COMPANION_PATH, EXPLANATION_BYTES_MAX,
    EXPLANATION_PATH, GOLDEN_BYTES_MAX, GOLDEN_PATH,
};
use crate::registry::model_file::{KEPT_BYTES_MAX, ModelFile};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a version is read for.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'c> {
    /// To serve it. What it needs meanwhile is copied to this place.
    Serve(Option<&'c Copies>),
    /// To compare its digest with that of a loaded version.
    Compare,
}

/// Where a model is.
pub(super) struct ModelPlace<'p> {
    /// Everything is inside it, unless links may lead elsewhere.
    pub root: Root<'p>,
    /// External data is in it.
    pub folder: &'p Path,
    /// The model file, in `folder`.
    pub model: &'p Path,
    /// Whether the folder has other models too, so that golden rows and the like are not of this one.
    pub is_loose: bool,
}

/// Reads a model.
pub(super) fn load(place: &ModelPlace<'_>, purpose: Purpose<'_>) -> Result<Loaded> {
    let &ModelPlace {
        root,
        folder,
        model: model_path,
        is_loose,
    } = place;
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
        let path = walk::inside(root, &folder.join(name))?;
        let path = path.filter(|path| path.is_file() && !is_loose);
        path.map(|path| whole(&path, bytes_max)).transpose()
    };
    let golden = beside(GOLDEN_PATH, GOLDEN_BYTES_MAX)?;
    let baseline = beside(BASELINE_PATH, BASELINE_BYTES_MAX)?;
    let companion = beside(COMPANION_PATH, COMPANION_BYTES_MAX)?;
    let explanation = beside(EXPLANATION_PATH, EXPLANATION_BYTES_MAX).transpose();

    // Quick where there is external data: most of the weights are there.
    let file_digest = Digest::of(&bytes);
    let copy = private_folder(&graph, &bytes, purpose)?;
    let digest = if graph.external.is_empty() {
        file_digest
    } else {
        let name = model_path.file_name().map(Path::new).unwrap_or(model_path);
        let mut hash = Hasher::default();
        head(&mut hash, name, bytes.len() as u64);
        hash.update(&bytes);
        add_external(&mut hash, (root.links, folder), &graph, copy.as_ref())?;
        hash.finish()
    };

    let external = copy.as_ref().filter(|_| !graph.external.is_empty());
    let external_dir = external.map(PrivateFolder::external);
    let file = match &copy {
        _ if bytes.len() <= KEPT_BYTES_MAX => ModelFile::Memory(bytes.clone()),
        Some(copy) => ModelFile::Disk(copy.model(), file_digest),
        None => ModelFile::Disk(path, file_digest),
    };
    Ok(Loaded {
        bytes,
        graph,
        digest,
        used: used(digest, &[&golden, &baseline, &companion], &explanation),
        file,
        external_dir,
        copy: copy.map(Arc::new),
        golden,
        baseline,
        companion,
        explanation,
        features: Vec::new(),
    })
}

/// Makes the folder for what a version needs while it serves, with the model file where that is not
/// kept in memory. External data cannot be served without it. A model alone can: then only a further
/// session needs the file.
fn private_folder(
    graph: &Graph,
    bytes: &Bytes,
    purpose: Purpose<'_>,
) -> Result<Option<PrivateFolder>> {
    let Purpose::Serve(copies) = purpose else {
        return Ok(None);
    };
    let (has_external, is_large) = (!graph.external.is_empty(), bytes.len() > KEPT_BYTES_MAX);
    if !has_external && !is_large {
        return Ok(None);
    }

    let make = || -> Result<PrivateFolder> {
        let copies = copies.ok_or_else(|| {
            Error::precondition(
                "no folder for private copies is known: neither XDG_CACHE_HOME nor HOME is set; set models.weights_cache",
            )
        })?;
        let folder = copies.folder()?;
        if is_large {
            folder.keep_model(bytes)?;
        }
        Ok(folder)
    };
    match make() {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if has_external => Err(error),
        Err(error) => {
            tracing::warn!(%error, "a lane of this version that hangs can be replaced only while the model file stays as it is");
            Ok(None)
        }
    }
}

/// Adds each file of external data to the digest, and copies it where a folder is given.
fn add_external(
    hash: &mut Hasher,
    (links, folder): (Links, &Path),
    graph: &Graph,
    copy: Option<&PrivateFolder>,
) -> Result<()> {
    for location in &graph.external {
        let path = external(links, folder, location)?;
        let name = location.to_string_lossy();
        add(hash, location, &path, copy)
            .map_err(|e| e.context(format!("external data '{}'", short(&name))))?;
    }

    Ok(())
}

/// Adds the files beside a model to its digest. Without an explanation it is what it was before there were any, so
/// that what was refused then stays refused.
fn used(model: Digest, beside: &[&Option<Bytes>], explanation: &Option<Result<Bytes>>) -> Digest {
    let digests = beside.iter().map(|file| {
        file.as_deref()
            .map(Digest::of)
            .map_or_else(String::new, |d| d.hex())
    });
    let explanation = explanation.as_ref().map(|file| match file {
        Ok(bytes) => Digest::of(bytes).hex(),
        Err(error) => error.message.clone(),
    });
    let all = std::iter::once(model.hex()).chain(digests);
    let all: Vec<String> = all.chain(explanation).collect();
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

    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let what = || format!("read '{}'", short(&name));
    let bytes = read().map_err(|e| walk::failed(&what(), e))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::invalid(format!(
            "the file is over {bytes_max} bytes"
        )));
    }

    Ok(bytes.into())
}

/// Finds a file of external data. It must be a regular file whose real place
/// is in the version's folder, unless links may lead anywhere.
fn external(links: Links, folder: &Path, location: &Path) -> Result<PathBuf> {
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
        Ok(target) if !links.may_lead(&home, &target) => refuse(
            "leads out of the version's folder; put the file there, or set models.follow_links = true",
        ),
        Ok(target) if !target.is_file() => refuse("is not a regular file"),
        Ok(target) => Ok(target),
    }
}

fn head(hash: &mut Hasher, name: &Path, file_bytes: u64) {
    hash.update(name.as_os_str().as_encoded_bytes());
    hash.update(format!("\0{file_bytes}\0").as_bytes());
}

/// Hashes a file, and copies it where that is wanted: what serves is what was hashed.
fn add(hash: &mut Hasher, name: &Path, path: &Path, into: Option<&PrivateFolder>) -> Result<()> {
    let failed = |e| walk::failed("read the file", e);
    let mut file = File::open(path).map_err(failed)?;
    let expected = file.metadata().map_err(failed)?.len();
    head(hash, name, expected);

    let is_whole = match into {
        Some(folder) => folder.copy(&mut file, name, hash, expected)?,
        None => copies::hash_all(&mut file, hash).map_err(failed)? == expected,
    };
    if is_whole {
        Ok(())
    } else {
        Err(Error::unavailable("changed while it was read"))
    }
}
