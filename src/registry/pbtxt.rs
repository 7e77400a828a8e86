//! Reads a model's configuration in Triton's format, as the text of `config.pbtxt` or as JSON. A setting
//! that is not supported and would change the model's answers is an error. Does not combine the settings
//! with those of other sources.

mod agree;
mod json;
pub(crate) mod model_list;
pub(crate) mod monitoring;
mod scheduling;
mod section;
mod syntax;
#[cfg(test)]
mod tests;

use super::version_policy::VersionPolicy;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::core::tensor::{DType, RANK_MAX};
use section::{once, refuse, unsupported};
use std::time::Duration;
use syntax::NamedField;

/// The largest `config.pbtxt`.
pub(crate) const CONFIG_BYTES_MAX: u64 = syntax::TEXT_BYTES_MAX as u64;
/// The most instances of a model.
pub(crate) const LANES_MAX: usize = 1_024;

/// What some editors write at the start of a UTF-8 file.
const BYTE_ORDER_MARK: char = '\u{feff}';

const NO_CACHE: &str = "response_cache: answers are not cached";
const NO_OPTIMIZATION: &str =
    "optimization: ONNX Runtime is configured by this server's own settings";
const NO_TAGS: &str = "metric_tags, model_metrics: metrics have this server's labels and buckets";

/// The settings of a `config.pbtxt`. A field that is absent is `None`, false or
/// empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelConfig {
    /// `max_batch_size`, where it is over 0.
    pub batch_rows_max: Option<u32>,
    /// Whether `max_batch_size: 0` is written.
    pub unbatched: bool,
    /// `dynamic_batching.max_queue_delay_microseconds`.
    pub batch_delay: Option<Duration>,
    /// `dynamic_batching.default_queue_policy.max_queue_size`.
    pub queue_rows_max: Option<u32>,
    /// `dynamic_batching.default_queue_policy.default_timeout_microseconds`.
    pub queue_timeout: Option<Duration>,
    /// The parameter `intra_op_thread_count`.
    pub intra_op_threads: Option<usize>,
    /// The sum of `instance_group.count` over CPU and automatic groups.
    pub lanes: Option<usize>,
    /// Whether a group needs a GPU.
    pub gpu: bool,
    /// The GPUs that groups name, each once.
    pub gpus: Vec<u32>,
    /// `version_policy`.
    pub version_policy: Option<VersionPolicy>,
    /// `default_model_filename`: one name, without a path.
    pub model_filename: Option<String>,
    /// `model_warmup.batch_size` of each warm-up.
    pub warmup_rows: Vec<u32>,
    /// `input`, for comparison with the graph.
    pub inputs: Vec<ConfigTensor>,
    /// `output`, for comparison with the graph.
    pub outputs: Vec<ConfigTensor>,
    /// What is accepted although this server has nothing like it, for the log.
    pub notices: Vec<&'static str>,
}

/// A tensor as a `config.pbtxt` declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigTensor {
    /// The graph's name for it.
    pub name: String,
    /// The datatype.
    pub dtype: DType,
    /// The axes, −1 for a dynamic one; without the batch axis if the model batches.
    pub dims: Vec<i64>,
    /// The axes in the graph, where clients see others.
    pub reshape: Option<Vec<i64>>,
    /// Whether a request may leave it out.
    pub optional: bool,
    /// The file with the classes of an output, in the model's folder.
    pub label_file: Option<String>,
    /// The classes, once the file is read.
    pub labels: Vec<String>,
    /// Where it stands in the file.
    pub line: usize,
}

impl ModelConfig {
    /// Reads the configuration of model `name`. Every error is `InvalidArgument`
    /// and names the line and, if there is one, the field.
    pub(crate) fn read(name: &ModelName, text: &str) -> Result<Self> {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let config = syntax::parse(text).and_then(|fields| Self::of(name, &fields));
        config.map_err(|e| e.context("config.pbtxt"))
    }

    /// Reads a configuration that a load call supplies as JSON. Every error is `InvalidArgument` and
    /// names the field, if there is one.
    pub(crate) fn read_json(name: &ModelName, text: &str) -> Result<Self> {
        let config = json::parse(text).and_then(|fields| Self::of(name, &fields));
        config.map_err(|e| e.context("load parameter 'config'"))
    }

    fn of(name: &ModelName, fields: &[NamedField]) -> Result<Self> {
        let mut config = Self::default();
        for field in once(
            fields,
            &[
                "input",
                "output",
                "instance_group",
                "parameters",
                "model_warmup",
            ],
        )? {
            config.take(name, field)?;
        }
        config.check_itself()?;
        config.notices.sort_unstable();
        config.notices.dedup();
        Ok(config)
    }

    fn take(&mut self, name: &ModelName, field: &NamedField) -> Result<()> {
        match field.name.as_str() {
            "name" if matches!(field.text()?, given if given.is_empty() || given == name.as_str()) =>
                {}
            "name" => {
                return refuse(
                    field,
                    format!("must be '{name}', the name of the model's folder"),
                );
            }
            "platform" if matches!(field.text()?, "" | "onnxruntime_onnx") => {}
            "platform" => return refuse(field, "must be \"onnxruntime_onnx\""),
            "backend" if matches!(field.text()?, "" | "onnxruntime") => {}
            "backend" => {
                return refuse(
                    field,
                    "must be \"onnxruntime\": models of other backends are not served",
                );
            }
            "max_batch_size" => self.take_rows(field)?,
            "input" => append(&mut self.inputs, field)?,
            "output" => append(&mut self.outputs, field)?,
            "dynamic_batching" => self.take_batching(field)?,
            "instance_group" => {
                field
                    .messages(&["gpus"])?
                    .into_iter()
                    .try_for_each(|group| self.take_group(field, group))?;
            }
            "version_policy" => self.version_policy = Some(version_policy(field)?),
            "default_model_filename" => self.model_filename = Some(file_name(field)?),
            "model_warmup" => {
                for warmup in field.messages(&["inputs"])? {
                    self.warmup_rows.push(warmup_rows(warmup)?);
                }
            }
            "model_transaction_policy" => only_off(field, "decoupled")?,
            // A cache changes no answer.
            "response_cache" => {
                if section::is_on(field, "enable")? {
                    self.notices.push(NO_CACHE);
                }
            }
            "parameters" => self.take_parameters(field)?,
            // Settings of speed, and notes for other tools: they change no answer.
            "optimization" => self.notices.push(NO_OPTIMIZATION),
            "metric_tags" => self.notices.push(NO_TAGS),
            "model_metrics" => self.notices.push(NO_TAGS),
            _ => return unsupported(field),
        }

        Ok(())
    }

    fn check_itself(&self) -> Result<()> {
        if self.lanes.is_some_and(|lanes| lanes > LANES_MAX) {
            return Err(Error::invalid(format!(
                "field 'instance_group' must add up to at most {LANES_MAX} instances"
            )));
        }

        let max = if self.unbatched {
            Some(1)
        } else {
            self.batch_rows_max
        };

        if let Some(rows) = self
            .warmup_rows
            .iter()
            .find(|rows| max.is_some_and(|max| **rows > max))
        {
            return Err(Error::invalid(format!(
                "field 'model_warmup' has batch_size {rows}, over max_batch_size"
            )));
        }

        for (role, tensors) in [("input", &self.inputs), ("output", &self.outputs)] {
            let twice = tensors
                .iter()
                .enumerate()
                .find(|(i, t)| tensors[..*i].iter().any(|u| u.name == t.name));
            if let Some((_, tensor)) = twice {
                let name = crate::core::error::short(&tensor.name);
                return Err(Error::invalid(format!(
                    "field '{role}' declares '{name}' twice"
                )));
            }
        }

        Ok(())
    }
}

/// The most inputs, and the most outputs, a `config.pbtxt` may declare.
const TENSORS_MAX: usize = 4_096;

fn append(tensors: &mut Vec<ConfigTensor>, field: &NamedField) -> Result<()> {
    for message in field.messages(&["dims"])? {
        tensors.push(tensor(field, message)?);
        if tensors.len() > TENSORS_MAX {
            return refuse(field, format!("is given more than {TENSORS_MAX} times"));
        }
    }

    Ok(())
}

fn tensor(whole: &NamedField, message: &[NamedField]) -> Result<ConfigTensor> {
    let (mut name, mut dtype, mut dims) = (None, None, Vec::new());
    let (mut optional, mut reshaped, mut label_file) = (false, None, None);
    let line = message.first().map_or(whole.line, |field| field.line);
    for field in message {
        match field.name.as_str() {
            "name" => name = Some(field.text()?.to_owned()).filter(|n| !n.is_empty()),
            "data_type" => dtype = Some(data_type(field)?),
            "dims" => dims.extend(field.numbers::<i64>()?),
            // Which axis is which changes nothing for an ONNX model.
            "format" if is_format(field.word()?) => {}
            "label_filename" if whole.name == "output" => {
                label_file = (!field.text()?.is_empty()).then(|| file_name(field));
            }
            "reshape" => reshaped = Some((field, shape_of(field)?)),
            "optional" => optional = field.flag()?,
            "is_shape_tensor" | "allow_ragged_batch" => field.only_false()?,
            _ => return unsupported(field),
        }
        if dims.len() > RANK_MAX || dims.iter().any(|d| *d < -1) {
            return refuse(
                field,
                format!("must be at most {RANK_MAX} lengths, with -1 for a dynamic axis"),
            );
        }
    }

    let reshaped = reshaped.filter(|(_, shape)| *shape != dims);
    if let Some((field, shape)) = &reshaped
        && elements(shape).is_none_or(|count| Some(count) != elements(&dims))
    {
        return refuse(
            field,
            "must have as many elements as dims, and no axis of any length; leave the tensor out to serve the shape of the graph",
        );
    }

    match (name, dtype) {
        (Some(name), Some(dtype)) => Ok(ConfigTensor {
            name,
            dtype,
            dims,
            reshape: reshaped.map(|(_, shape)| shape),
            optional,
            label_file: label_file.transpose()?,
            labels: Vec::new(),
            line,
        }),
        _ => refuse(whole, "must have a name and a data_type"),
    }
}

/// The elements of a shape without dynamic axes.
fn elements(shape: &[i64]) -> Option<i64> {
    let mut lengths = shape.iter().map(|d| (*d >= 0).then_some(*d));
    lengths.try_fold(1_i64, |count, d| count.checked_mul(d?))
}

fn is_format(word: &str) -> bool {
    matches!(word, "FORMAT_NONE" | "FORMAT_NCHW" | "FORMAT_NHWC")
}

/// Reads the shape of a `reshape`.
fn shape_of(reshape: &NamedField) -> Result<Vec<i64>> {
    let mut shape = Vec::new();
    for field in reshape.messages(&["shape"])?.into_iter().flatten() {
        match field.name.as_str() {
            "shape" => shape.extend(field.numbers::<i64>()?),
            _ => return unsupported(field),
        }
    }
    Ok(shape)
}

fn data_type(field: &NamedField) -> Result<DType> {
    let name = match field.word()? {
        "TYPE_STRING" => Some("BYTES"),
        word => word.strip_prefix("TYPE_").filter(|name| *name != "BYTES"),
    };
    name.and_then(DType::from_name)
        .map_or_else(|| refuse(field, "must be a datatype such as TYPE_FP32"), Ok)
}

fn version_policy(field: &NamedField) -> Result<VersionPolicy> {
    let [choice] = field.message()? else {
        return refuse(field, "must be exactly one of latest, all and specific");
    };
    match choice.name.as_str() {
        "all" if choice.message()?.is_empty() => Ok(VersionPolicy::All),
        "latest" => {
            let mut count = 1;
            for field in choice.message()? {
                match field.name.as_str() {
                    "num_versions" => count = field.number()?,
                    _ => return unsupported(field),
                }
            }
            if count == 0 {
                refuse(choice, "must have num_versions of 1 or more")
            } else {
                Ok(VersionPolicy::Latest(count))
            }
        }
        "specific" => {
            let mut versions = Vec::new();
            for field in choice.messages(&["versions"])?.into_iter().flatten() {
                let numbers = if field.name == "versions" {
                    field.numbers::<u64>()?
                } else {
                    return unsupported(field);
                };
                for number in numbers {
                    versions.push(
                        Version::new(number)
                            .map_or_else(|| refuse(field, "must list versions of 1 or more"), Ok)?,
                    );
                }
            }
            if versions.is_empty() {
                refuse(choice, "must list at least one version")
            } else {
                Ok(VersionPolicy::Specific(versions))
            }
        }
        _ => unsupported(choice),
    }
}

/// The longest name of a model's file.
const FILE_NAME_BYTES_MAX: usize = 255;

fn file_name(field: &NamedField) -> Result<String> {
    let name = field.text()?;
    let illegal = |c: char| matches!(c, '/' | '\\') || c.is_control();
    if name.is_empty()
        || name.len() > FILE_NAME_BYTES_MAX
        || name.starts_with('.')
        || name.contains(illegal)
    {
        return refuse(field, "must be a file name without a path");
    }

    Ok(name.to_owned())
}

/// Reads one warm-up. Its contents are ignored as long as they are synthetic: this
/// server creates its own.
fn warmup_rows(warmup: &[NamedField]) -> Result<u32> {
    let mut rows = 1;
    for field in warmup {
        match field.name.as_str() {
            "name" => drop(field.text()?),
            "count" => drop(field.number::<u32>()?),
            // Triton writes 0 for a model that does not batch.
            "batch_size" => rows = field.number::<u32>()?.max(1),
            "inputs" => {
                let members = field.messages(&[])?.into_iter().flatten();
                for value in members.filter(|member| member.name != "key") {
                    match value.name.as_str() {
                        "value" => warmup_input(value)?,
                        _ => return unsupported(value),
                    }
                }
            }
            _ => return unsupported(field),
        }
    }

    Ok(rows)
}

fn warmup_input(value: &NamedField) -> Result<()> {
    for field in value.messages(&["dims"])?.into_iter().flatten() {
        match field.name.as_str() {
            "data_type" => drop(data_type(field)?),
            "dims" => drop(field.numbers::<i64>()?),
            "zero_data" | "random_data" => drop(field.flag()?),
            _ => return unsupported(field),
        }
    }

    Ok(())
}

/// Accepts a message whose only setting is `switch: false`.
fn only_off(whole: &NamedField, switch: &str) -> Result<()> {
    for field in whole.message()? {
        if field.name == switch {
            field.only_false()?
        } else {
            return unsupported(field);
        }
    }

    Ok(())
}
