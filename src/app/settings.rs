//! The configuration in the words of the rooms that follow it.

use crate::config::Config;
use crate::config::model::{
    Batching, Model, ModelOverrides, ProviderKind as ConfiguredKind, Task,
    VersionPolicy as Configured,
};
use crate::core::model::task::{Kind, Wish};
use crate::core::model::{ModelName, Version};
use crate::onnx::runtime::SessionOptions;
use crate::onnx::runtime::provider::{Provider, ProviderKind};
use crate::registry::catalog::VersionPolicy;
use crate::registry::pbtxt::ModelConfig;
use crate::serve::manager::{self, Settings};

/// A model's settings: its section, over its `config.pbtxt`, over the defaults.
pub(super) fn settings(config: Config) -> manager::SettingsOf {
    Box::new(move |name: &ModelName, pbtxt: Option<&ModelConfig>| {
        let own = config.model.get(name.as_str()).cloned().unwrap_or_default();
        let beside = pbtxt.map(overrides).unwrap_or_default();
        to_settings(
            own.over(beside).over(config.defaults.clone()).resolve(),
            config.models.golden,
        )
    })
}

fn overrides(c: &ModelConfig) -> ModelOverrides {
    let cuda = || {
        let options = c
            .gpus
            .first()
            .map(|gpu| ("device_id".to_owned(), gpu.to_string()));
        crate::config::model::Provider {
            kind: ConfiguredKind::Cuda,
            options: options.into_iter().collect(),
        }
    };
    let versions = |policy: &VersionPolicy| match policy {
        VersionPolicy::Latest(n) => Configured::Latest(*n),
        VersionPolicy::All => Configured::All,
        VersionPolicy::Specific(list) => {
            Configured::Specific(list.iter().map(|v| v.number()).collect())
        }
    };
    ModelOverrides {
        batching: c.unbatched.then_some(Batching::Off),
        batch_rows_max: c.batch_rows_max,
        batch_delay: c.batch_delay,
        lanes: c.lanes,
        providers: c.gpu.then(|| vec![cuda()]),
        version_policy: c.version_policy.as_ref().map(versions),
        ..ModelOverrides::default()
    }
}

fn to_settings(model: Model, golden: bool) -> Settings {
    let intra_op_threads = model.intra_op_threads.max(1);
    let kind = |kind| match kind {
        ConfiguredKind::Cpu => ProviderKind::Cpu,
        ConfiguredKind::Cuda => ProviderKind::Cuda,
        ConfiguredKind::Tensorrt => ProviderKind::Tensorrt,
    };
    let providers = model
        .providers
        .into_iter()
        .map(|p| Provider {
            kind: kind(p.kind),
            options: p.options,
        })
        .collect();
    Settings {
        session: SessionOptions {
            intra_op_threads,
            spinning: model.spinning,
            providers,
        },
        lanes: if model.lanes == 0 {
            (super::cores() / intra_op_threads).max(1)
        } else {
            model.lanes
        },
        batched: model.batching == Batching::Auto,
        batch_rows_max: model.batch_rows_max as usize,
        queue_rows_max: model.queue_rows_max as usize,
        batch_delay: model.batch_delay,
        deadline: model.deadline,
        policy: match model.version_policy {
            Configured::Latest(n) => VersionPolicy::Latest(n),
            Configured::All => VersionPolicy::All,
            Configured::Specific(list) => {
                VersionPolicy::Specific(list.into_iter().filter_map(Version::new).collect())
            }
        },
        task: Wish {
            kind: match model.task {
                Task::Auto => None,
                Task::Classification => Some(Kind::Classification),
                Task::Regression => Some(Kind::Regression),
                Task::None => Some(Kind::Neither),
            },
            output: model.score_output,
            classes: model.classes,
        },
        slices: model.slices,
        labels: model
            .labels
            .into_iter()
            .filter_map(|(label, v)| Some((label, Version::new(v)?)))
            .collect(),
        golden,
    }
}
