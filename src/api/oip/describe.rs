//! Describes models in the terms of the Open Inference Protocol: metadata,
//! configuration, statistics, the repository index. Pure functions; gRPC sends
//! these messages and REST their JSON.

mod model_config;
#[cfg(test)]
mod tests;

use crate::api::Front;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::observe::metrics::statistics::DurationTally;
use crate::proto::inference as p;
use crate::serve::manager::{Manager, ServingState, VersionStatus};
use crate::serve::route::RouteTable;
use crate::serve::servable::{Batching, Servable};
pub(crate) use model_config::{config, config_json};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The protocol extensions that this server supports.
const EXTENSIONS: [&str; 8] = [
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
];

/// The extensions that are switched on.
pub(crate) fn extensions(front: &Front) -> Vec<String> {
    let shared_memory = front.oip.regions.is_on().then_some("system_shared_memory");
    let trace = front.predictor.tracer().map(|_| "trace");
    let all = EXTENSIONS.into_iter().chain(shared_memory).chain(trace);
    all.map(str::to_owned).collect()
}

/// The platform of ONNX models in this protocol.
pub(crate) const PLATFORM: &str = "onnxruntime_onnx";

/// Metadata of one version, with every version that serves.
pub(crate) fn metadata(servable: &Servable, table: &RouteTable) -> p::ModelMetadataResponse {
    let routes = table.models.get(&servable.name);
    let versions = routes.iter().flat_map(|r| r.versions.keys());
    let signature = &servable.signature;

    p::ModelMetadataResponse {
        name: servable.name.to_string(),
        versions: versions.map(ToString::to_string).collect(),
        platform: PLATFORM.to_owned(),
        inputs: signature.listed_inputs().map(tensor_metadata).collect(),
        outputs: signature.outputs.iter().map(tensor_metadata).collect(),
        properties: properties(servable, table),
    }
}

fn tensor_metadata(spec: &TensorSpec) -> p::model_metadata_response::TensorMetadata {
    p::model_metadata_response::TensorMetadata {
        name: spec.name.clone(),
        datatype: spec.dtype.name().to_owned(),
        shape: spec.shape_to_wire(),
    }
}

/// Properties of a version beyond the protocol's own fields.
fn properties(servable: &Servable, table: &RouteTable) -> HashMap<String, String> {
    let batching = match servable.batching() {
        Batching::Joined => "joined".to_owned(),
        Batching::Forced(doubt) => format!("joined by the configuration, although {doubt}"),
        Batching::Alone(reason) => format!("alone: {reason}"),
    };
    let routes = table.models.get(&servable.name);
    let aliases: Vec<&str> = routes
        .into_iter()
        .flat_map(|r| &r.labels)
        .filter(|(_, version)| **version == servable.version)
        .map(|(alias, _)| alias.as_str())
        .collect();

    let mut properties = HashMap::from([
        ("ortus.version".to_owned(), servable.version.to_string()),
        ("ortus.digest".to_owned(), servable.digest.to_string()),
        ("ortus.batching".to_owned(), batching),
        ("ortus.provider".to_owned(), servable.provider.to_owned()),
        (
            "ortus.memory_bytes".to_owned(),
            servable.metrics.memory_bytes.get().to_string(),
        ),
    ]);

    properties.extend(optional_properties(&servable.signature));
    properties.extend(output_properties(servable));
    if let Some(entry) = table.entry {
        properties.insert("ortus.registry.entry".to_owned(), entry.to_string());
    }
    if !aliases.is_empty() {
        properties.insert("ortus.aliases".to_owned(), aliases.join(","));
    }
    properties
}

/// Properties that tell which of the listed inputs a request may leave out, and how many more it may
/// give.
fn optional_properties(signature: &Signature) -> impl Iterator<Item = (String, String)> {
    let names: Vec<&str> = signature
        .listed_optional()
        .map(|s| s.name.as_str())
        .collect();
    let unlisted = signature.optional.len() - names.len();
    let listed = (!names.is_empty()).then(|| ("ortus.optional_inputs", names.join(",")));
    let others = (unlisted > 0).then(|| ("ortus.optional_inputs_unlisted", unlisted.to_string()));

    let all = listed.into_iter().chain(others);
    all.map(|(name, value)| (name.to_owned(), value))
}

/// The most classes of an output that metadata names.
const LISTED_CLASSES_MAX: usize = 4_096;

/// Properties that name the classes of outputs with a score for each, and say which outputs the file declares as
/// maps.
fn output_properties(servable: &Servable) -> impl Iterator<Item = (String, String)> {
    let outputs = servable.signature.outputs.iter().zip(&servable.ends);
    outputs.flat_map(|(spec, end)| {
        let columns = spec.shape.as_ref().and_then(|dims| dims.last());
        let has_scores = columns == Some(&Dim::Fixed(end.classes.len()))
            && end.classes.len() <= LISTED_CLASSES_MAX;
        let classes = has_scores.then(|| {
            let names = Value::from(end.classes.as_slice()).to_string();
            (format!("ortus.classes.{}", spec.name), names)
        });
        let converted = end.is_from_maps.then(|| {
            let what = "a column for each class, from the sequence of maps that the file declares";
            (format!("ortus.converted.{}", spec.name), what.to_owned())
        });
        classes.into_iter().chain(converted)
    })
}

/// The same as JSON.
pub(crate) fn metadata_json(m: &p::ModelMetadataResponse) -> Value {
    json!({
        "name": m.name,
        "versions": m.versions,
        "platform": m.platform,
        "inputs": tensors_json(&m.inputs),
        "outputs": tensors_json(&m.outputs),
        "properties": m.properties,
    })
}

fn tensors_json(tensors: &[p::model_metadata_response::TensorMetadata]) -> Vec<Value> {
    tensors
        .iter()
        .map(|t| json!({"name": t.name, "datatype": t.datatype, "shape": t.shape}))
        .collect()
}

/// Triton's statistics of a servable: a request is counted once as a success
/// or a failure; a batch once as an execution. The times of a batch count for each of its requests.
pub(crate) fn statistics(servable: &Servable) -> p::ModelStatistics {
    let stats = &servable.metrics.stats;
    let batches = stats.batches();
    let none = Some(p::StatisticDuration::default());
    let (count, [queue, gather, run, scatter]) = stats.answered();
    let took = |ns: u64| Some(p::StatisticDuration { count, ns });

    p::ModelStatistics {
        name: servable.name.to_string(),
        version: servable.version.to_string(),
        last_inference: stats.last_ms(),
        inference_count: stats.rows(),
        execution_count: stats.runs(),
        inference_stats: Some(p::InferStatistics {
            success: total(&stats.success),
            fail: total(&stats.fail),
            queue: took(queue),
            compute_input: took(gather),
            compute_infer: took(run),
            compute_output: took(scatter),
            cache_hit: none,
            cache_miss: none,
        }),
        batch_stats: batches.iter().map(|(rows, of)| batch(*rows, of)).collect(),
        memory_usage: vec![memory(servable)],
    }
}

/// The estimated memory of a servable.
fn memory(servable: &Servable) -> p::MemoryUsage {
    let bytes = servable.metrics.memory_bytes.get();
    p::MemoryUsage {
        r#type: match servable.provider {
            "cpu" => "CPU",
            _ => "GPU",
        }
        .to_owned(),
        id: 0,
        byte_size: u64::try_from(bytes).unwrap_or_default(),
    }
}

fn total(tally: &DurationTally) -> Option<p::StatisticDuration> {
    let (count, ns) = tally.read();
    Some(p::StatisticDuration { count, ns })
}

/// The statistics of the batches of one size.
fn batch(rows: u64, [count, gather, run, scatter]: &[u64; 4]) -> p::InferBatchStatistics {
    let took = |ns: &u64| {
        Some(p::StatisticDuration {
            count: *count,
            ns: *ns,
        })
    };
    p::InferBatchStatistics {
        batch_size: rows,
        compute_input: took(gather),
        compute_infer: took(run),
        compute_output: took(scatter),
    }
}

/// The same as JSON.
pub(crate) fn statistics_json(all: &[p::ModelStatistics]) -> Value {
    let models: Vec<Value> = all.iter().map(model_statistics_json).collect();
    json!({"model_stats": models})
}

fn model_statistics_json(m: &p::ModelStatistics) -> Value {
    let s = m.inference_stats.unwrap_or_default();
    let batches: Vec<Value> = m.batch_stats.iter().map(batch_json).collect();

    json!({
        "name": m.name,
        "version": m.version,
        "last_inference": m.last_inference,
        "inference_count": m.inference_count,
        "execution_count": m.execution_count,
        "inference_stats": {
            "success": duration_json(s.success),
            "fail": duration_json(s.fail),
            "queue": duration_json(s.queue),
            "compute_input": duration_json(s.compute_input),
            "compute_infer": duration_json(s.compute_infer),
            "compute_output": duration_json(s.compute_output),
            "cache_hit": duration_json(s.cache_hit),
            "cache_miss": duration_json(s.cache_miss),
        },
        "batch_stats": batches,
        "memory_usage": m.memory_usage.iter().map(memory_json).collect::<Vec<_>>(),
    })
}

fn memory_json(memory: &p::MemoryUsage) -> Value {
    json!({"type": memory.r#type, "id": memory.id, "byte_size": memory.byte_size})
}

fn batch_json(batch: &p::InferBatchStatistics) -> Value {
    json!({
        "batch_size": batch.batch_size,
        "compute_input": duration_json(batch.compute_input),
        "compute_infer": duration_json(batch.compute_infer),
        "compute_output": duration_json(batch.compute_output),
    })
}

fn duration_json(duration: Option<p::StatisticDuration>) -> Value {
    let duration = duration.unwrap_or_default();
    json!({"count": duration.count, "ns": duration.ns})
}

/// The repository index: every version known, with its state in Triton's terms, and what lies in a
/// model directory and is not served.
pub(crate) fn index(
    manager: &Manager,
    only_ready: bool,
) -> Vec<p::repository_index_response::ModelIndex> {
    let status = manager.status();
    let known = status
        .iter()
        .filter(|s| !only_ready || s.state == ServingState::Ready);
    let unserved = manager.unserved();
    let unserved = unserved.iter().filter(|_| !only_ready).map(|unserved| {
        p::repository_index_response::ModelIndex {
            name: unserved.model.clone(),
            version: unserved.version.clone(),
            state: "UNAVAILABLE".to_owned(),
            reason: unserved.reason.clone(),
        }
    });
    known.map(index_entry).chain(unserved).collect()
}

fn index_entry(status: &VersionStatus) -> p::repository_index_response::ModelIndex {
    let (state, reason) = match &status.state {
        ServingState::Settling => ("UNAVAILABLE", "its files are still being written"),
        ServingState::Loading => ("LOADING", ""),
        ServingState::Ready => ("READY", status.warning.as_deref().unwrap_or_default()),
        ServingState::Draining => ("UNLOADING", ""),
        ServingState::Unloaded => (
            "UNAVAILABLE",
            status.warning.as_deref().unwrap_or("unloaded"),
        ),
        ServingState::Failed(reason) => ("UNAVAILABLE", reason.as_str()),
    };

    p::repository_index_response::ModelIndex {
        name: status.name.to_string(),
        version: status.version.map(|v| v.to_string()).unwrap_or_default(),
        state: state.to_owned(),
        reason: reason.to_owned(),
    }
}
