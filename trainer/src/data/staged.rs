//! The files of a source, made local: a file or folder as it is, objects of a
//! bucket copied into a folder.

use super::manifest::SourceFile;
use futures_util::stream::TryStreamExt;
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::registry::blob;
use ortus::storage::store::Store;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The most files of a source.
const FILES_MAX: usize = 10_000;

/// The format of a source's files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFormat {
    Parquet,
    /// CSV and its kin, also compressed.
    Text,
    Json,
}

impl FileFormat {
    /// Returns the format by the extension of a file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let extension = |path: &Path| {
            let extension = path.extension()?.to_str()?;
            Some(extension.to_ascii_lowercase())
        };
        match extension(path)?.as_str() {
            "parquet" => Some(Self::Parquet),
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "gz" | "zst" | "zip" => match extension(Path::new(path.file_stem()?)) {
                None => Some(Self::Text),
                Some(inner) => is_text(&inner).then_some(Self::Text),
            },
            other => is_text(other).then_some(Self::Text),
        }
    }

    /// Returns the format by what a file begins with.
    pub(super) fn of_content(path: &Path) -> Result<Self> {
        let mut file = std::fs::File::open(path).map_err(|e| unreadable(path, e))?;
        let mut magic = [0; 4];
        match file.read_exact(&mut magic) {
            Ok(()) if magic == *b"PAR1" => Ok(Self::Parquet),
            _ => Ok(Self::Text),
        }
    }
}

fn is_text(extension: &str) -> bool {
    ["csv", "tsv", "tab", "txt", "psv"].contains(&extension)
}

/// Returns the error for a file that cannot be read.
pub(super) fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::invalid(format!("{} cannot be read", path.display())).with_source(error)
}

/// A source as local files.
pub(super) struct Staged {
    /// The files that hold its rows.
    pub tables: Vec<PathBuf>,
    /// The original files.
    pub files: OriginalFiles,
    /// The digest of the rows, if they are fewer than those of the original files.
    pub rows_digest: Option<Digest>,
    /// Notes for a person, such as files that were left out.
    pub notes: Vec<String>,
    /// Names of columns that captured predictions have beside the inputs of the model.
    pub captured: Vec<String>,
    /// The metadata of files that are read in place, as of before they are read.
    pub stamps: Vec<(PathBuf, Stamp)>,
}

/// The original files of a source.
pub(super) enum OriginalFiles {
    Known(Vec<SourceFile>),
    /// Files that are read in place, and the folder of the specification.
    InPlace(Vec<PathBuf>, PathBuf),
}

impl OriginalFiles {
    /// Describes the files. Reads those in place whole.
    pub(super) fn describe(self) -> Result<Vec<SourceFile>> {
        match self {
            Self::Known(files) => Ok(files),
            Self::InPlace(paths, folder) => {
                paths.iter().map(|path| describe(path, &folder)).collect()
            }
        }
    }
}

/// The metadata of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64, u64, Option<std::time::SystemTime>);

impl Stamp {
    fn of(path: &Path) -> Result<Self> {
        let meta = std::fs::metadata(path).map_err(|e| unreadable(path, e))?;
        Ok(Self(
            meta.len(),
            std::os::unix::fs::MetadataExt::ino(&meta),
            meta.modified().ok(),
        ))
    }
}

/// Refuses files that changed since their reading began.
pub(super) fn unchanged(stamps: &[(PathBuf, Stamp)]) -> Result<()> {
    match stamps
        .iter()
        .find(|(path, stamp)| Stamp::of(path).ok().as_ref() != Some(stamp))
    {
        Some((path, _)) => Err(Error::unavailable(format!(
            "{} changed while it was read",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// Returns the files of a source, sorted: one, or all of a folder.
pub(super) fn local(folder: &Path, at: &str) -> Result<Staged> {
    let path = folder.join(at);
    let meta = std::fs::metadata(&path).map_err(|e| unreadable(&path, e))?;
    let mut found = Vec::new();
    if meta.is_file() {
        found.push(path.clone());
    } else {
        let mut folders = vec![path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).map_err(|e| unreadable(&folder, e))? {
                let path = entry.map_err(|e| unreadable(&folder, e))?.path();
                if is_hidden(path.file_name().and_then(|n| n.to_str()).unwrap_or(".")) {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else if FileFormat::of(&path).is_some() {
                    found.push(path);
                }
                if found.len() > FILES_MAX {
                    return Err(Error::overloaded(format!(
                        "{} holds over {FILES_MAX} files",
                        folder.display()
                    )));
                }
            }
        }
    }

    found.sort();
    if found.is_empty() {
        return Err(Error::invalid(format!(
            "{} holds no Parquet, text (CSV) or JSON-lines file",
            path.display()
        )));
    }

    let stamps = found
        .iter()
        .map(|path| Ok((path.clone(), Stamp::of(path)?)))
        .collect::<Result<_>>()?;
    Ok(Staged {
        files: OriginalFiles::InPlace(found.clone(), folder.to_owned()),
        tables: found,
        rows_digest: None,
        notes: Vec::new(),
        captured: Vec::new(),
        stamps,
    })
}

/// Describes a file for the manifest, its path relative to a folder if possible.
fn describe(path: &Path, folder: &Path) -> Result<SourceFile> {
    let mut file = std::fs::File::open(path).map_err(|e| unreadable(path, e))?;
    let (digest, bytes) = blob::measure(&mut file).map_err(|e| unreadable(path, e))?;
    let shown = path.strip_prefix(folder).unwrap_or(path);
    Ok(SourceFile {
        path: shown.display().to_string(),
        digest,
        bytes,
    })
}

/// Returns whether a file is hidden or still being written, by the naming of table formats.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// Copies the objects of a bucket, one or all below an address, into a folder.
/// Refuses more than `bytes_max`.
pub(super) async fn bucket(url: &str, into: &Path, bytes_max: u64) -> Result<Staged> {
    let store = Store::open_for("data source", url, false)?;
    let mut keys: Vec<(String, u64)> = if FileFormat::of(Path::new(url)).is_some() {
        let meta = store
            .head("")
            .await?
            .ok_or_else(|| Error::invalid(format!("{store} does not exist")))?;
        vec![(String::new(), meta.bytes)]
    } else {
        let listed: Vec<_> = store.list("").try_collect().await?;
        let fits =
            |key: &str| FileFormat::of(Path::new(key)).is_some() && !key.split('/').any(is_hidden);
        listed
            .into_iter()
            .filter(|(key, _)| fits(key))
            .map(|(key, meta)| (key, meta.bytes))
            .collect()
    };

    keys.sort();
    if keys.is_empty() {
        return Err(Error::invalid(format!(
            "{store} holds no Parquet, text (CSV) or JSON-lines file"
        )));
    }

    if keys.len() > FILES_MAX {
        return Err(Error::overloaded(format!(
            "{store} holds over {FILES_MAX} files"
        )));
    }

    let whole: u64 = keys.iter().map(|(_, bytes)| bytes).sum();
    if whole > bytes_max {
        return Err(Error::too_large(format!(
            "{store} holds {whole} bytes, over {bytes_max}, 'staged_max' in [data]"
        )));
    }

    let (mut tables, mut files) = (Vec::new(), Vec::new());
    for (at, (key, expected)) in keys.into_iter().enumerate() {
        let named = if key.is_empty() { url } else { &key };
        let end = Path::new(named)
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        let path = into.join(format!("{at:05}.{end}"));
        let (digest, bytes) = copy(&store, &key, &path).await?;
        if bytes != expected {
            return Err(Error::unavailable(format!(
                "{named} changed while it was read"
            )));
        }
        files.push(SourceFile {
            path: if key.is_empty() {
                store.to_string()
            } else {
                key
            },
            digest,
            bytes,
        });
        tables.push(path);
    }

    Ok(Staged {
        tables,
        files: OriginalFiles::Known(files),
        rows_digest: None,
        notes: Vec::new(),
        captured: Vec::new(),
        stamps: Vec::new(),
    })
}

async fn copy(store: &Store, key: &str, path: &Path) -> Result<(Digest, u64)> {
    let failed =
        |e: std::io::Error| Error::unavailable(format!("write {}", path.display())).with_source(e);
    let mut parts = store
        .stream(key)
        .await?
        .ok_or_else(|| Error::unavailable(format!("{key} is gone")))?;
    let mut file = std::fs::File::create(path).map_err(failed)?;

    while let Some(part) = parts.try_next().await? {
        file.write_all(&part).map_err(failed)?;
    }
    drop(file);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    blob::measure(&mut file).map_err(failed)
}
