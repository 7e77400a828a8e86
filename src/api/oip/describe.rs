//! Describes models in the terms of the Open Inference Protocol: metadata,
//! configuration, statistics, the repository index. Pure functions; gRPC sends
//! these messages and REST their JSON.

#[cfg(test)]
mod tests;

use crate::api::Front;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::DType;
use crate::observe::metrics::statistics::DurationTally;
use crate::proto::inference as p;
use crate::serve::manager::{Manager, ServingState, VersionStatus};
use crate::serve::route::RouteTable;
use crate::serve::servable::{Batching, Servable};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The protocol extensions that this server supports.
const EXTENSIONS: [&str; 7] = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
];

/// The extensions that are switched on.
pub(crate) fn extensions(front: &Front) -> Vec<String> {
    let shared_memory = front.oip.regions.is_on().then_some("system_shared_memory");
    let all = EXTENSIONS.into_iter().chain(shared_memory);
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

/// Triton's model configuration of a servable.
pub(crate) fn config(servable: &Servable) -> p::ModelConfig {
    // The limit of rows and the shapes stay when a recheck ends batching.
    let batched = servable.has_rows();
    let is_joined = servable.batching().is_joined();
    let Signature {
        inputs, outputs, ..
    } = &servable.signature;
    let input = |spec: &TensorSpec| p::ModelInput {
        name: spec.name.clone(),
        data_type: data_type(spec.dtype) as i32,
        dims: dims(spec, batched),
        optional: false,
    };
    // An optional input has no axis of the batch: it is a value for the whole request.
    let optional = servable.signature.listed_optional();
    let optional = optional.map(|spec| p::ModelInput {
        dims: dims(spec, false),
        optional: true,
        ..input(spec)
    });

    let output = |spec: &TensorSpec| p::ModelOutput {
        name: spec.name.clone(),
        data_type: data_type(spec.dtype) as i32,
        dims: dims(spec, batched),
    };

    let max_batch_size = match batched {
        true => i32::try_from(servable.options.batch_rows_max).unwrap_or(i32::MAX),
        false => 0,
    };

    p::ModelConfig {
        name: servable.name.to_string(),
        platform: PLATFORM.to_owned(),
        backend: "onnxruntime".to_owned(),
        version_policy: None,
        max_batch_size,
        input: inputs.iter().map(input).chain(optional).collect(),
        output: outputs.iter().map(output).collect(),
        instance_group: vec![instance_group(servable)],
        default_model_filename: "model.onnx".to_owned(),
        scheduling_choice: is_joined.then(|| dynamic_batching(servable)),
    }
}

/// The dimensions of a tensor; a configuration leaves out that of the batch.
fn dims(spec: &TensorSpec, batched: bool) -> Vec<i64> {
    let all = spec.shape.iter().flatten().map(|d: &Dim| d.to_wire());
    all.skip(usize::from(batched)).collect()
}

fn instance_group(servable: &Servable) -> p::ModelInstanceGroup {
    let kind = match servable.provider {
        "cpu" => p::model_instance_group::Kind::Cpu,
        _ => p::model_instance_group::Kind::Gpu,
    };
    p::ModelInstanceGroup {
        name: "lanes".to_owned(),
        count: i32::try_from(servable.lanes).unwrap_or(i32::MAX),
        kind: kind as i32,
    }
}

fn dynamic_batching(servable: &Servable) -> p::model_config::SchedulingChoice {
    let delay_us = servable.options.batch_delay.as_micros();
    p::model_config::SchedulingChoice::DynamicBatching(p::ModelDynamicBatching {
        preferred_batch_size: Vec::new(),
        max_queue_delay_microseconds: u64::try_from(delay_us).unwrap_or(u64::MAX),
    })
}

/// The same as JSON.
pub(crate) fn config_json(c: &p::ModelConfig) -> Value {
    let inputs = c.input.iter();
    let inputs: Vec<Value> = inputs.map(input_json).collect();
    let outputs = c.output.iter();
    let outputs: Vec<Value> = outputs
        .map(|o| json!({"name": o.name, "data_type": type_name(o.data_type), "dims": o.dims}))
        .collect();
    let groups = c.instance_group.iter();
    let groups: Vec<Value> = groups
        .map(|g| json!({"name": g.name, "count": g.count, "kind": kind_name(g.kind)}))
        .collect();

    let mut value = json!({
        "name": c.name,
        "platform": c.platform,
        "backend": c.backend,
        "max_batch_size": c.max_batch_size,
        "input": inputs,
        "output": outputs,
        "instance_group": groups,
        "default_model_filename": c.default_model_filename,
    });

    if let Some(p::model_config::SchedulingChoice::DynamicBatching(d)) = &c.scheduling_choice {
        value["dynamic_batching"] =
            json!({"max_queue_delay_microseconds": d.max_queue_delay_microseconds});
    }
    value
}

fn input_json(i: &p::ModelInput) -> Value {
    let mut value = json!({"name": i.name, "data_type": type_name(i.data_type), "dims": i.dims});
    if i.optional {
        value["optional"] = Value::Bool(true);
    }
    value
}

fn type_name(number: i32) -> &'static str {
    p::DataType::try_from(number)
        .unwrap_or(p::DataType::TypeInvalid)
        .as_str_name()
}

fn kind_name(number: i32) -> &'static str {
    p::model_instance_group::Kind::try_from(number)
        .unwrap_or_default()
        .as_str_name()
}

fn data_type(dtype: DType) -> p::DataType {
    match dtype {
        DType::Bool => p::DataType::TypeBool,
        DType::U8 => p::DataType::TypeUint8,
        DType::U16 => p::DataType::TypeUint16,
        DType::U32 => p::DataType::TypeUint32,
        DType::U64 => p::DataType::TypeUint64,
        DType::I8 => p::DataType::TypeInt8,
        DType::I16 => p::DataType::TypeInt16,
        DType::I32 => p::DataType::TypeInt32,
        DType::I64 => p::DataType::TypeInt64,
        DType::F16 => p::DataType::TypeFp16,
        DType::BF16 => p::DataType::TypeBf16,
        DType::F32 => p::DataType::TypeFp32,
        DType::F64 => p::DataType::TypeFp64,
        DType::String => p::DataType::TypeString,
    }
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
