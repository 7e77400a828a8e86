//! What every listener shares, as it is configured.

use crate::api::FrontOptions;
use crate::api::oip::options::OipOptions;
use crate::api::oip::shared_memory::Regions;
use crate::config::Config;
use crate::core::error::{Error, Result};

/// How the Open Inference Protocol is spoken.
pub(super) fn oip_options(config: &Config) -> OipOptions {
    OipOptions {
        regions: Regions::new(config.server.shared_memory, &config.limits),
        compat: config.server.compat,
    }
}

/// What clients may see and change.
pub(super) fn options(config: &Config) -> FrontOptions {
    FrontOptions {
        metric_aliases: config.server.metric_aliases,
        metrics_path: config.server.metrics_path.clone(),
        accepts_reload: config.models.config_reload,
        accepts_settings: config.server.client_settings,
        log_format: config.log.format,
    }
}

/// The effective configuration, for the operator listener.
pub(super) fn as_json(config: &Config) -> Result<String> {
    serde_json::to_string(config)
        .map_err(|e| Error::internal("print the configuration").with_source(e))
}
