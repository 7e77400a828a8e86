//! Opens a store from an address: which kind, the place in it, the credentials.

use crate::core::error::{Error, Result};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use std::sync::Arc;

type Env<'e> = &'e mut dyn Iterator<Item = (String, String)>;
type Opened = (Arc<dyn ObjectStore>, Path, String);

/// Opens what `url` names; errors say that it is the address of `what`.
pub(super) fn open(what: &str, url: &str, create: bool, env: Env<'_>) -> Result<Opened> {
    match url.split_once("://") {
        None if url.is_empty() => Err(Error::invalid(format!(
            "the address of the {what} is empty"
        ))),
        None => folder(what, url, create),
        Some(("file", path)) => folder(what, path, create),
        Some(("memory", _)) => Ok((
            Arc::new(InMemory::new()),
            Path::default(),
            "memory://".to_owned(),
        )),
        Some(("s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss", _)) => {
            bucket(what, url, env)
        }
        Some((scheme, _)) => Err(Error::invalid(format!(
            "the {what} does not support {}:// addresses; use file:///path, s3://bucket/path, gs://bucket/path or az://container/path",
            crate::core::error::short(scheme)
        ))),
    }
}

fn folder(what: &str, path: &str, create: bool) -> Result<Opened> {
    let wrong = |e: std::io::Error, verb: &str| {
        let message = format!("{verb} the {what}'s folder {path}");
        let denied = e.kind() == std::io::ErrorKind::PermissionDenied;
        if denied {
            Error::denied(message)
        } else {
            Error::unavailable(message)
        }
        .with_source(e)
    };

    if create {
        std::fs::create_dir_all(path).map_err(|e| wrong(e, "make"))?;
    }
    let whole = std::fs::canonicalize(path).map_err(|e| wrong(e, "find"))?;
    if !whole.is_dir() {
        return Err(Error::invalid(format!("{path} is not a folder")));
    }
    let store = LocalFileSystem::new_with_prefix(&whole)
        .map_err(|e| Error::unavailable(format!("open the {what}'s folder {path}")).with_source(e))?
        // Without fsync, a power failure may undo acknowledged writes.
        .with_fsync(true);
    Ok((
        Arc::new(store),
        Path::default(),
        format!("file://{}", whole.display()),
    ))
}

#[cfg(feature = "cloud")]
fn bucket(what: &str, url: &str, env: Env<'_>) -> Result<Opened> {
    // Another part of the program may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let malformed =
        |e: String| Error::invalid(format!("the address of the {what} is malformed: {e}"));
    let parsed = reqwest::Url::parse(url).map_err(|e| malformed(e.to_string()))?;
    // Only the prefixed variables: object_store would also accept a plain TOKEN or
    // REGION.
    let ours = ["AWS_", "GOOGLE_", "AZURE_"];
    let options = env.filter(|(name, _)| ours.iter().any(|prefix| name.starts_with(prefix)));
    let (store, path) =
        object_store::parse_url_opts(&parsed, options.map(|(k, v)| (k.to_ascii_lowercase(), v)))
            .map_err(|e| {
                Error::invalid(format!(
                    "the address of the {what} or its credentials are not usable"
                ))
                .with_source(e)
            })?;
    let mut shown = parsed;

    // An address may contain a password, which must not reach a log.
    let _ = shown.set_password(None);
    let _ = shown.set_username("");
    Ok((Arc::from(store), path, shown.to_string()))
}

#[cfg(not(feature = "cloud"))]
fn bucket(_: &str, _: &str, _: Env<'_>) -> Result<Opened> {
    Err(Error::invalid(
        "this ortus is built without the feature `cloud`, which buckets need",
    ))
}
