//! What the protocol tells of models besides predictions: metadata,
//! configuration, statistics, the repository index. Pure; gRPC sends these
//! messages and REST their JSON.

use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::DType;
use crate::observe::metrics::statistics::Tally;
use crate::proto::inference as p;
use crate::serve::manager::{State, VersionStatus};
use crate::serve::route::Table;
use crate::serve::servable::{Batching, Servable};
use serde_json::{Value, json};

/// The extensions this server really has.
pub(crate) const EXTENSIONS: [&str; 6] = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
];

/// What ONNX models are called in this protocol.
pub(crate) const PLATFORM: &str = "onnxruntime_onnx";

/// Metadata of one version, with every version that serves.
pub(crate) fn metadata(servable: &Servable, table: &Table) -> p::ModelMetadataResponse {
    let routes = table.models.get(&servable.name);
    let tensor = |spec: &TensorSpec| p::model_metadata_response::TensorMetadata {
        name: spec.name.clone(),
        datatype: spec.dtype.name().to_owned(),
        shape: spec.shape_to_wire(),
    };
    let batching = match &servable.batching {
        Batching::Joined => "joined".to_owned(),
        Batching::Alone(reason) => format!("alone: {reason}"),
    };
    let aliases = routes
        .into_iter()
        .flat_map(|r| &r.labels)
        .filter(|(_, v)| **v == servable.version);
    let aliases: Vec<&str> = aliases.map(|(alias, _)| alias.as_str()).collect();
    let of_registry = [
        (
            "ortus.registry.entry",
            table.entry.map(|seq| seq.to_string()),
        ),
        (
            "ortus.aliases",
            (!aliases.is_empty()).then(|| aliases.join(",")),
        ),
    ];
    let of_registry = of_registry
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    let properties = [
        ("ortus.version", servable.version.to_string()),
        ("ortus.digest", servable.digest.to_string()),
        ("ortus.batching", batching),
        ("ortus.provider", servable.provider.to_owned()),
    ];
    p::ModelMetadataResponse {
        name: servable.name.to_string(),
        versions: routes
            .iter()
            .flat_map(|r| r.versions.keys())
            .map(ToString::to_string)
            .collect(),
        platform: PLATFORM.to_owned(),
        inputs: servable.signature.inputs.iter().map(tensor).collect(),
        outputs: servable.signature.outputs.iter().map(tensor).collect(),
        properties: properties
            .into_iter()
            .chain(of_registry)
            .map(|(k, v)| (k.to_owned(), v))
            .collect(),
    }
}

/// The same as JSON.
pub(crate) fn metadata_json(m: &p::ModelMetadataResponse) -> Value {
    let tensors = |all: &[p::model_metadata_response::TensorMetadata]| -> Vec<Value> {
        all.iter()
            .map(|t| json!({"name": t.name, "datatype": t.datatype, "shape": t.shape}))
            .collect()
    };
    json!({
        "name": m.name, "versions": m.versions, "platform": m.platform,
        "inputs": tensors(&m.inputs), "outputs": tensors(&m.outputs), "properties": m.properties,
    })
}

/// Triton's model configuration of a servable.
pub(crate) fn config(servable: &Servable) -> p::ModelConfig {
    let batched = servable.batching == Batching::Joined;
    let signature: &Signature = &servable.signature;
    // The configuration leaves the batch dimension out of dims.
    let dims = |spec: &TensorSpec| -> Vec<i64> {
        let all = spec.shape.iter().flatten().map(|d: &Dim| d.to_wire());
        all.skip(usize::from(batched)).collect()
    };
    let input = |s: &TensorSpec| p::ModelInput {
        name: s.name.clone(),
        data_type: data_type(s.dtype) as i32,
        dims: dims(s),
    };
    let output = |s: &TensorSpec| p::ModelOutput {
        name: s.name.clone(),
        data_type: data_type(s.dtype) as i32,
        dims: dims(s),
    };
    let kind = if servable.provider == "cpu" {
        p::model_instance_group::Kind::Cpu
    } else {
        p::model_instance_group::Kind::Gpu
    };
    let dynamic = p::ModelDynamicBatching {
        preferred_batch_size: Vec::new(),
        max_queue_delay_microseconds: u64::try_from(servable.options.batch_delay.as_micros())
            .unwrap_or(u64::MAX),
    };
    p::ModelConfig {
        name: servable.name.to_string(),
        platform: PLATFORM.to_owned(),
        backend: "onnxruntime".to_owned(),
        version_policy: None,
        max_batch_size: if batched {
            i32::try_from(servable.options.batch_rows_max).unwrap_or(i32::MAX)
        } else {
            0
        },
        input: signature.inputs.iter().map(input).collect(),
        output: signature.outputs.iter().map(output).collect(),
        instance_group: vec![p::ModelInstanceGroup {
            name: "lanes".to_owned(),
            count: i32::try_from(servable.lanes).unwrap_or(i32::MAX),
            kind: kind as i32,
        }],
        default_model_filename: "model.onnx".to_owned(),
        scheduling_choice: batched
            .then_some(p::model_config::SchedulingChoice::DynamicBatching(dynamic)),
    }
}

/// The same as JSON.
pub(crate) fn config_json(c: &p::ModelConfig) -> Value {
    let name = |t: i32| {
        p::DataType::try_from(t)
            .unwrap_or(p::DataType::TypeInvalid)
            .as_str_name()
    };
    let inputs: Vec<Value> = c
        .input
        .iter()
        .map(|i| json!({"name": i.name, "data_type": name(i.data_type), "dims": i.dims}))
        .collect();
    let outputs: Vec<Value> = c
        .output
        .iter()
        .map(|o| json!({"name": o.name, "data_type": name(o.data_type), "dims": o.dims}))
        .collect();
    let kind = |k: i32| {
        p::model_instance_group::Kind::try_from(k)
            .unwrap_or_default()
            .as_str_name()
    };
    let groups: Vec<Value> = c
        .instance_group
        .iter()
        .map(|g| json!({"name": g.name, "count": g.count, "kind": kind(g.kind)}))
        .collect();
    let mut value = json!({
        "name": c.name, "platform": c.platform, "backend": c.backend, "max_batch_size": c.max_batch_size,
        "input": inputs, "output": outputs, "instance_group": groups,
        "default_model_filename": c.default_model_filename,
    });
    if let Some(p::model_config::SchedulingChoice::DynamicBatching(d)) = &c.scheduling_choice {
        value["dynamic_batching"] =
            json!({"max_queue_delay_microseconds": d.max_queue_delay_microseconds});
    }
    value
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
/// or a failure; a batch once as an execution.
pub(crate) fn statistics(servable: &Servable) -> p::ModelStatistics {
    let s = &servable.metrics.stats;
    let tally = |t: &Tally| {
        let (count, ns) = t.read();
        Some(p::StatisticDuration { count, ns })
    };
    let zero = Some(p::StatisticDuration::default());
    let batches = s.batches();
    let batch = |(rows, [count, gather, run]): (&u64, &[u64; 3])| p::InferBatchStatistics {
        batch_size: *rows,
        compute_input: Some(p::StatisticDuration {
            count: *count,
            ns: *gather,
        }),
        compute_infer: Some(p::StatisticDuration {
            count: *count,
            ns: *run,
        }),
        compute_output: Some(p::StatisticDuration {
            count: *count,
            ns: 0,
        }),
    };
    p::ModelStatistics {
        name: servable.name.to_string(),
        version: servable.version.to_string(),
        last_inference: s.last_ms(),
        inference_count: s.rows(),
        execution_count: s.run.read().0,
        inference_stats: Some(p::InferStatistics {
            success: tally(&s.success),
            fail: tally(&s.fail),
            queue: tally(&s.queue),
            compute_input: tally(&s.gather),
            compute_infer: tally(&s.run),
            compute_output: zero,
            cache_hit: zero,
            cache_miss: zero,
        }),
        batch_stats: batches.iter().map(batch).collect(),
    }
}

/// The same as JSON.
pub(crate) fn statistics_json(all: &[p::ModelStatistics]) -> Value {
    let d = |d: &Option<p::StatisticDuration>| {
        let d = d.unwrap_or_default();
        json!({"count": d.count, "ns": d.ns})
    };
    let one = |m: &p::ModelStatistics| {
        let s = m.inference_stats.unwrap_or_default();
        let batches: Vec<Value> = m
            .batch_stats
            .iter()
            .map(|b| {
                json!({"batch_size": b.batch_size, "compute_input": d(&b.compute_input),
                       "compute_infer": d(&b.compute_infer), "compute_output": d(&b.compute_output)})
            })
            .collect();
        json!({
            "name": m.name, "version": m.version, "last_inference": m.last_inference,
            "inference_count": m.inference_count, "execution_count": m.execution_count,
            "inference_stats": {
                "success": d(&s.success), "fail": d(&s.fail), "queue": d(&s.queue),
                "compute_input": d(&s.compute_input), "compute_infer": d(&s.compute_infer),
                "compute_output": d(&s.compute_output), "cache_hit": d(&s.cache_hit), "cache_miss": d(&s.cache_miss),
            },
            "batch_stats": batches,
        })
    };
    json!({"model_stats": all.iter().map(one).collect::<Vec<_>>()})
}

/// The repository index: every version known, with its state in Triton's words.
pub(crate) fn index(
    status: &[VersionStatus],
    only_ready: bool,
) -> Vec<p::repository_index_response::ModelIndex> {
    let entry = |s: &VersionStatus| {
        let (state, reason) = match &s.state {
            State::Settling => (
                "UNAVAILABLE",
                "its files are still being written".to_owned(),
            ),
            State::Loading => ("LOADING", String::new()),
            State::Ready => ("READY", s.warning.clone().unwrap_or_default()),
            State::Draining => ("UNLOADING", String::new()),
            State::Unloaded => ("UNAVAILABLE", "unloaded".to_owned()),
            State::Failed(reason) => ("UNAVAILABLE", reason.clone()),
        };
        p::repository_index_response::ModelIndex {
            name: s.name.to_string(),
            version: s.version.map(|v| v.to_string()).unwrap_or_default(),
            state: state.to_owned(),
            reason,
        }
    };
    status
        .iter()
        .filter(|s| !only_ready || s.state == State::Ready)
        .map(entry)
        .collect()
}
