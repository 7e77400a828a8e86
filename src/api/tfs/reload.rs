//! The call of TensorFlow Serving that replaces the list of models.

use crate::api::Front;
use crate::core::error::{Error, Result, short};
use crate::core::model::Version;
use crate::proto::tensorflow::serving as p;
use crate::registry::pbtxt::model_list::{ListEntry, ModelList, labels_of, version_of};
use crate::registry::version_policy::VersionPolicy;
use p::model_server_config::Config;
use p::servable_version_policy::PolicyChoice;

/// Replaces the list of models by that of a request.
pub(super) async fn reload(front: &Front, request: p::ReloadConfigRequest) -> Result<()> {
    if !front.options.accepts_reload {
        return Err(Error::denied(
            "calls may not replace the list of models; start the server with models.config_reload = true",
        ));
    }
    if !request.metric_names.is_empty() {
        return Err(Error::unimplemented(
            "metric_names is not supported; read the metrics before and after the call",
        ));
    }
    front.relist(list(request.config)?).await
}

fn list(config: Option<p::ModelServerConfig>) -> Result<ModelList> {
    let Some(Config::ModelConfigList(listed)) = config.and_then(|config| config.config) else {
        return Err(Error::invalid("config must have a model_config_list"));
    };
    let mut list = ModelList::default();
    for model in listed.config {
        let within = |e: Error| e.context(format!("model '{}'", short(&model.name)));
        if !matches!(model.model_platform.as_str(), "" | "tensorflow" | "onnx") {
            let platform = short(&model.model_platform).to_string();
            let error = format!("model_platform '{platform}' must be tensorflow or onnx");
            return Err(within(Error::invalid(error)));
        }
        let versions = model.model_version_policy.and_then(|p| p.policy_choice);
        let listed = ListEntry {
            folder: model.base_path.into(),
            versions: versions.map(policy).transpose().map_err(within)?,
            labels: labels_of(model.version_labels).map_err(within)?,
        };
        list.add(&model.name, listed)?;
    }
    Ok(list)
}

fn policy(choice: PolicyChoice) -> Result<VersionPolicy> {
    Ok(match choice {
        PolicyChoice::All(_) => VersionPolicy::All,
        PolicyChoice::Latest(latest) => VersionPolicy::Latest(latest.num_versions.max(1)),
        PolicyChoice::Specific(specific) => {
            let versions = specific.versions.into_iter().map(version_of);
            let versions: Option<Vec<Version>> = versions.collect();
            let versions = versions.filter(|versions| !versions.is_empty());
            VersionPolicy::Specific(versions.ok_or_else(|| {
                Error::invalid("the policy 'specific' must list versions of 1 or more")
            })?)
        }
    })
}
