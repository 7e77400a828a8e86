//! Triton's model configuration of a version, as a message and as JSON. A load call takes it back.

use super::PLATFORM;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::DType;
use crate::proto::inference as p;
use crate::registry::version_policy::VersionPolicy;
use crate::serve::servable::{DeclaredSettings, Servable};
use serde_json::{Value, json};

/// Triton's model configuration of a servable.
pub(crate) fn config(servable: &Servable) -> p::ModelConfig {
    // The limit of rows and the shapes stay when a recheck ends batching.
    let batched = servable.has_rows();
    let is_joined = servable.batching().is_joined();
    let Signature {
        inputs, outputs, ..
    } = &servable.signature;
    let reshape = |spec: &TensorSpec| {
        let reshapes = servable.declared.reshapes.as_ref();
        let own = reshapes.and_then(|r| r.own(&servable.signature, &spec.name));
        own.map(|own| p::ModelTensorReshape {
            shape: own.iter().map(|n| n.cast_signed() as i64).collect(),
        })
    };
    let input = |spec: &TensorSpec| p::ModelInput {
        name: spec.name.clone(),
        data_type: data_type(spec.dtype) as i32,
        dims: dims(spec, batched),
        reshape: reshape(spec),
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
        label_filename: servable
            .declared
            .label_files
            .get(&spec.name)
            .cloned()
            .unwrap_or_default(),
        reshape: reshape(spec),
    };

    let policy = queue_policy(&servable.declared);
    let threads = servable.declared.intra_op_threads.map(|threads| {
        let string_value = threads.to_string();
        let parameter = p::ModelParameter { string_value };
        ("intra_op_thread_count".to_owned(), parameter)
    });
    let max_batch_size = match batched {
        true => i32::try_from(servable.options.batch_rows_max).unwrap_or(i32::MAX),
        false => 0,
    };

    p::ModelConfig {
        name: servable.name.to_string(),
        platform: PLATFORM.to_owned(),
        backend: "onnxruntime".to_owned(),
        version_policy: Some(version_policy(&servable.declared.versions)),
        max_batch_size,
        input: inputs.iter().map(input).chain(optional).collect(),
        output: outputs.iter().map(output).collect(),
        instance_group: vec![instance_group(servable)],
        default_model_filename: servable
            .declared
            .model_file
            .clone()
            .unwrap_or_else(|| "model.onnx".to_owned()),
        scheduling_choice: (is_joined || policy.is_some())
            .then(|| dynamic_batching(servable, policy)),
        parameters: threads.into_iter().collect(),
    }
}

fn version_policy(policy: &VersionPolicy) -> p::ModelVersionPolicy {
    use p::model_version_policy::{All, Latest, PolicyChoice, Specific};
    let choice = match policy {
        VersionPolicy::Latest(count) => PolicyChoice::Latest(Latest {
            num_versions: *count,
        }),
        VersionPolicy::All => PolicyChoice::All(All {}),
        VersionPolicy::Specific(versions) => PolicyChoice::Specific(Specific {
            versions: versions.iter().map(|v| v.number().cast_signed()).collect(),
        }),
    };
    p::ModelVersionPolicy {
        policy_choice: Some(choice),
    }
}

fn policy_json(policy: &p::ModelVersionPolicy) -> Value {
    use p::model_version_policy::PolicyChoice;
    match &policy.policy_choice {
        Some(PolicyChoice::Latest(latest)) => {
            json!({"latest": {"num_versions": latest.num_versions}})
        }
        Some(PolicyChoice::Specific(specific)) => {
            json!({"specific": {"versions": specific.versions}})
        }
        Some(PolicyChoice::All(_)) | None => json!({"all": {}}),
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

/// What the configuration says of the queue, if anything.
fn queue_policy(declared: &DeclaredSettings) -> Option<p::ModelQueuePolicy> {
    let (rows, timeout) = (declared.queue_rows_max, declared.queue_timeout);
    let timeout_us = timeout.map_or(0, |timeout| timeout.as_micros());
    (rows.is_some() || timeout.is_some()).then(|| p::ModelQueuePolicy {
        default_timeout_microseconds: u64::try_from(timeout_us).unwrap_or(u64::MAX),
        allow_timeout_override: true,
        max_queue_size: rows.unwrap_or(0),
    })
}

fn dynamic_batching(
    servable: &Servable,
    default_queue_policy: Option<p::ModelQueuePolicy>,
) -> p::model_config::SchedulingChoice {
    let delay_us = servable.options.batch_delay.as_micros();
    p::model_config::SchedulingChoice::DynamicBatching(p::ModelDynamicBatching {
        preferred_batch_size: Vec::new(),
        max_queue_delay_microseconds: u64::try_from(delay_us).unwrap_or(u64::MAX),
        default_queue_policy,
    })
}

/// The same as JSON.
pub(crate) fn config_json(c: &p::ModelConfig) -> Value {
    let inputs = c.input.iter();
    let inputs: Vec<Value> = inputs.map(input_json).collect();
    let outputs = c.output.iter();
    let outputs: Vec<Value> = outputs
        .map(|o| {
            let mut value =
                json!({"name": o.name, "data_type": type_name(o.data_type), "dims": o.dims});
            if let Some(reshape) = &o.reshape {
                value["reshape"] = json!({"shape": reshape.shape});
            }
            if !o.label_filename.is_empty() {
                value["label_filename"] = o.label_filename.clone().into();
            }
            value
        })
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

    if let Some(policy) = &c.version_policy {
        value["version_policy"] = policy_json(policy);
    }
    if let Some(p::model_config::SchedulingChoice::DynamicBatching(d)) = &c.scheduling_choice {
        value["dynamic_batching"] =
            json!({"max_queue_delay_microseconds": d.max_queue_delay_microseconds});
        if let Some(policy) = &d.default_queue_policy {
            value["dynamic_batching"]["default_queue_policy"] = json!({
                "default_timeout_microseconds": policy.default_timeout_microseconds,
                "allow_timeout_override": policy.allow_timeout_override,
                "max_queue_size": policy.max_queue_size,
            });
        }
    }
    for (key, parameter) in &c.parameters {
        value["parameters"][key] = json!({"string_value": parameter.string_value});
    }
    value
}

fn input_json(i: &p::ModelInput) -> Value {
    let mut value = json!({"name": i.name, "data_type": type_name(i.data_type), "dims": i.dims});
    if let Some(reshape) = &i.reshape {
        value["reshape"] = json!({"shape": reshape.shape});
    }
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
