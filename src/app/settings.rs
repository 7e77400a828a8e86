//! Resolves the settings of a model: its section of the configuration, its `config.pbtxt`, and
//! the defaults.

use crate::config::Config;
use crate::core::model::ModelName;
use crate::onnx::runtime::provider::{Provider, ProviderKind};
use crate::registry::pbtxt::ModelConfig;
use crate::serve::manager::{self, Settings};
use crate::serve::settings::{Batching, Model, ModelOverrides};

/// Returns the settings of each model. Its section overrides its `config.pbtxt`, and that
/// overrides the defaults.
pub(super) fn settings(config: Config) -> manager::SettingsOf {
    Box::new(
        move |name: &ModelName, pbtxt: Option<&ModelConfig>| Settings {
            model: resolve(&config, name, pbtxt),
            golden: config.models.golden,
            declared: pbtxt.cloned().unwrap_or_default(),
        },
    )
}

/// Returns the settings of a model for a command, which reads no `config.pbtxt`.
pub(crate) fn of_model(config: &Config, name: &ModelName) -> Model {
    resolve(config, name, None)
}

fn resolve(config: &Config, name: &ModelName, pbtxt: Option<&ModelConfig>) -> Model {
    let own = config.model.get(name.as_str()).cloned().unwrap_or_default();
    let file = pbtxt.map(overrides).unwrap_or_default();
    let mut model = own.over(file).over(config.defaults.clone()).resolve();
    // A queue that is shorter than a batch could never fill one.
    model.queue_rows_max = model.queue_rows_max.max(model.batch_rows_max);
    model
}

/// Returns the settings that a model's `config.pbtxt` sets.
fn overrides(file: &ModelConfig) -> ModelOverrides {
    ModelOverrides {
        batching: file.unbatched.then_some(Batching::Off),
        batch_rows_max: file.batch_rows_max,
        batch_delay: file.batch_delay,
        queue_rows_max: file.queue_rows_max,
        queue_timeout: file.queue_timeout,
        intra_op_threads: file.intra_op_threads,
        lanes: file.lanes,
        providers: file.gpu.then(|| vec![cuda(file.gpus.first().copied())]),
        version_policy: file.version_policy.clone(),
        ..ModelOverrides::default()
    }
}

/// Returns the CUDA provider, on a device if one is named.
fn cuda(device: Option<u32>) -> Provider {
    let options = device.map(|id| ("device_id".to_owned(), id.to_string()));
    Provider {
        kind: ProviderKind::Cuda,
        options: options.into_iter().collect(),
    }
}
