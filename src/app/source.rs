//! What the server serves from: a model directory or a registry, and what triggers loading.

use super::watching::records;
use crate::config::{Config, ModelControl};
use crate::core::error::{Error, Result};
use crate::onnx::runtime::library;
use crate::registry::directory::copies::Copies;
use crate::registry::directory::listed::{DirectoryOptions, ListedModels};
use crate::registry::directory::served_path::ServedPath;
use crate::registry::follow::{self, Follower};
use crate::registry::log::Log;
use crate::registry::servers::Addresses;
use crate::serve::manager::{Control, ModelSource};
use crate::storage::store::Store;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Opens what is served from. `addresses` are published to the fleet once they are set.
pub(super) fn open(config: &Config, addresses: &Arc<OnceLock<Addresses>>) -> Result<ModelSource> {
    let models = &config.models;
    let given = [
        models.directory.is_some(),
        models.config_file.is_some(),
        config.registry.url.is_some(),
    ];
    if given.iter().filter(|given| **given).count() > 1 {
        return Err(Error::invalid(
            "two of a model directory, a list of models (models.config_file) and a registry are set; a server serves from one of them",
        ));
    }
    if let Some(file) = &models.config_file {
        let listed = ListedModels::open(file.clone(), directory_options(config))?;
        return Ok(ModelSource::Listed(Box::new(listed)));
    }
    match (&models.directory, &config.registry.url) {
        (Some(path), _) => {
            let found = ServedPath::find(path.to_owned(), models.name.as_deref())?;
            let directory = directory_options(config).directory(found, path);
            Ok(ModelSource::Directory(Box::new(directory)))
        }
        (None, None) => Err(Error::invalid(
            "nothing to serve: give a model directory or file, or --registry URL, or set models.directory or registry.url",
        )),
        (None, Some(url)) => Ok(ModelSource::Registry(Box::new(follower(
            config, url, addresses,
        )?))),
    }
}

/// Returns the place for private copies of external data.
fn copies(config: &Config) -> Option<Copies> {
    let user = || library::user_cache().map(|folder| folder.join("weights"));
    let folder = config.models.weights_cache.clone().or_else(user)?;
    Some(Copies::open(folder))
}

fn directory_options(config: &Config) -> DirectoryOptions {
    let models = &config.models;
    let user = || records::user_state().map(|folder| folder.join("directories"));
    DirectoryOptions {
        settle: models.settle,
        empty_delay: models.empty_delay,
        copies: copies(config),
        refusals: models.state.clone().or_else(user),
        upload_bytes: models.upload_bytes,
        follow_links: models.follow_links,
    }
}

/// Opens a registry and starts to follow its log.
fn follower(config: &Config, url: &str, addresses: &Arc<OnceLock<Addresses>>) -> Result<Follower> {
    if config.models.control == ModelControl::Explicit {
        return Err(Error::invalid(
            "models.control is \"explicit\", which works with a model directory only; with a registry, set \"poll\" or \"none\"",
        ));
    }

    let registry = &config.registry;
    let log = Log::new(Store::open(url, false)?, &registry.namespace)?;
    let options = follow::FollowOptions {
        settings: registry.clone(),
        cache: cache(config)?,
        addresses: Arc::clone(addresses),
    };

    Follower::open(log, options, Instant::now())
}

/// Returns the directory of verified copies: as configured, or in the user's cache.
fn cache(config: &Config) -> Result<PathBuf> {
    if let Some(cache) = &config.registry.cache {
        return Ok(cache.clone());
    }

    let user = library::user_cache().ok_or_else(|| {
        Error::precondition("neither XDG_CACHE_HOME nor HOME is set; set registry.cache")
    })?;
    Ok(user.join("registry"))
}

/// Returns what triggers loading. A registry has a poll interval of its own.
pub(super) fn control(config: &Config) -> Control {
    let is_registry = config.registry.url.is_some();
    match config.models.control {
        ModelControl::None => Control::None,
        ModelControl::Poll if is_registry => Control::Poll(config.registry.poll),
        ModelControl::Poll => Control::Poll(config.models.poll),
        ModelControl::Explicit => Control::Explicit,
    }
}
