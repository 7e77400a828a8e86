//! Sessions of ONNX Runtime. Together with provider.rs and library.rs, the only
//! file that names `ort`. Owns the process-wide environment.

#[cfg(test)]
pub(crate) mod tests;

use super::provider::{self, Provider};
use super::warnings::RuntimeWarnings;
use super::words;
use super::{Engine, Session, SessionOptions, SessionSource, Terminate};
use crate::core::error::{Error, Result};
use crate::core::model::optional::OptionalTensor;
use crate::core::tensor::{DType, Strings, Tensor, View, ViewData};
use bytes::Bytes;
use half::{bf16, f16};
use ort::environment::Environment;
use ort::logging::{LogLevel, LoggerFunction};
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel};
use ort::session::{RunOptions, Session as OrtSession, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, TensorElementType, TensorRef, ValueType};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// One environment per process, ever: ONNX Runtime allows no second.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// ONNX Runtime, loaded from a shared library.
pub struct OnnxRuntime(&'static Environment);

impl OnnxRuntime {
    /// Loads the library at `path`. A second call returns the first library.
    pub fn load(path: &Path) -> Result<Self> {
        static LOADING: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
        let _one_at_a_time = LOADING.lock();
        if let Some(environment) = ENVIRONMENT.get() {
            return Ok(Self(environment));
        }
        let refuse = |error: String| {
            Error::precondition(format!("load ONNX Runtime from {}", path.display()))
                .with_source(error)
        };
        let environment = ort::init_from(path)
            .map_err(|e| refuse(e.to_string()))?
            .with_name("ortus")
            .with_telemetry(false)
            .build()
            .map_err(|e| refuse(e.to_string()))?;
        environment.set_log_level(LogLevel::Warning);

        Ok(Self(ENVIRONMENT.get_or_init(|| environment)))
    }

    fn build(
        &self,
        source: &SessionSource,
        options: &SessionOptions,
        chosen: &Provider,
    ) -> Result<OrtSession> {
        let folder = source.external_dir.as_deref();
        let unfit = |error: String| {
            let said = words::without_paths(&error, folder);
            Error::precondition(format!("ONNX Runtime refuses the model: {said}"))
                .with_source(error)
        };
        let mut builder = OrtSession::builder(self.0)
            .and_then(|b| Ok(b.with_optimization_level(GraphOptimizationLevel::All)?))
            .and_then(|b| Ok(b.with_auto_device(AutoDevicePolicy::PreferCPU)?))
            .and_then(|b| Ok(b.with_log_level(LogLevel::Warning)?))
            .and_then(|b| Ok(b.with_logger(logger(&options.warnings))?))
            .and_then(|b| Ok(b.with_intra_threads(options.intra_op_threads)?))
            .and_then(|b| Ok(b.with_inter_threads(1)?))
            .and_then(|b| Ok(b.with_intra_op_spinning(options.spinning)?))
            .and_then(|b| Ok(b.with_inter_op_spinning(false)?))
            // Batch sizes vary, so a memory pattern of one would not fit the next.
            .and_then(|b| Ok(b.with_memory_pattern(false)?))
            .map_err(|e| Error::internal("prepare a session").with_source(e.to_string()))?;
        if let Some(folder) = &source.external_dir {
            builder = builder
                .with_config_entry(
                    "session.model_external_initializers_file_folder_path",
                    folder.display().to_string(),
                )
                .map_err(|e| unfit(e.to_string()))?;
        }

        provider::register(builder, chosen)?
            .commit_from_memory(&source.bytes)
            .map_err(|e| unfit(e.to_string()))
    }
}

/// Hands what ONNX Runtime says about one session to the log of its version.
fn logger(warnings: &RuntimeWarnings) -> LoggerFunction {
    let warnings = warnings.clone();
    Arc::new(move |_level, _category, _id, _location, said| warnings.note(said))
}

impl Engine for OnnxRuntime {
    fn open(&self, source: &SessionSource, options: &SessionOptions) -> Result<Box<dyn Session>> {
        let mut refused = None;
        for chosen in &options.providers {
            match self.build(source, options, chosen) {
                Ok(session) => {
                    let session = OnnxSession::new(session, chosen.kind.name());
                    let session = session
                        .map_err(|e| Error::internal("prepare runs").with_source(e.to_string()))?;
                    return Ok(Box::new(session));
                }
                Err(error) => {
                    tracing::warn!(provider = chosen.kind.name(), %error, "provider refused");
                    refused = Some(error);
                }
            }
        }

        Err(refused.unwrap_or_else(|| Error::invalid("no execution provider is listed")))
    }

    fn trim(&self) {
        #[cfg(target_env = "gnu")]
        // SAFETY: malloc_trim takes no pointer and may be called at any time.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

struct OnnxSession {
    session: OrtSession,
    /// Names of the required inputs, in the graph's order.
    names: Vec<String>,
    /// Shared with the thread that may terminate a run.
    run_options: Arc<RunOptions>,
    provider: &'static str,
    /// Aligned copies of inputs that arrived misaligned, one per input.
    scratch: Vec<Vec<u128>>,
}

impl OnnxSession {
    fn new(session: OrtSession, provider: &'static str) -> ort::Result<Self> {
        let names = session.inputs().iter().map(|i| i.name().to_owned());
        let names: Vec<String> = names.collect();
        // The client gets the error of a failed run. It is not logged, because any
        // client could fill the disk with such lines.
        let mut run_options = RunOptions::new()?;
        run_options.set_log_level(LogLevel::Fatal)?;

        Ok(Self {
            session,
            run_options: Arc::new(run_options),
            provider,
            scratch: names.iter().map(|_| Vec::new()).collect(),
            names,
        })
    }
}

impl Session for OnnxSession {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        let on_cpu = self.provider == "cpu";
        let mut values = Vec::with_capacity(inputs.len());
        for (view, scratch) in inputs.iter().zip(&mut self.scratch) {
            values.push(to_value(view, scratch).map_err(|e| failure(&e, on_cpu))?);
        }
        let outputs = self
            .session
            .run_with_options(values.as_slice(), &self.run_options)
            .map_err(|e| failure(&e, on_cpu))?;
        tensors(&outputs)
    }

    fn run_with(
        &mut self,
        inputs: &[View<'_>],
        optional: &[OptionalTensor],
    ) -> Result<Vec<Tensor>> {
        if optional.is_empty() {
            return self.run(inputs);
        }

        let on_cpu = self.provider == "cpu";
        let names = self.names.iter().map(String::as_str);
        let given = names.zip(inputs.iter().copied()).chain(
            optional
                .iter()
                .map(|given| (given.name.as_str(), given.tensor.view())),
        );
        let given: Vec<(&str, View<'_>)> = given.collect();

        let mut scratch: Vec<Vec<u128>> = given.iter().map(|_| Vec::new()).collect();
        let mut values = Vec::with_capacity(given.len());
        for ((name, view), scratch) in given.iter().zip(&mut scratch) {
            let value = to_value(view, scratch).map_err(|e| failure(&e, on_cpu))?;
            values.push((*name, value));
        }

        let outputs = self
            .session
            .run_with_options(values, &self.run_options)
            .map_err(|e| failure(&e, on_cpu))?;
        tensors(&outputs)
    }

    fn provider(&self) -> &'static str {
        self.provider
    }

    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        Some(Arc::clone(&self.run_options) as Arc<dyn Terminate>)
    }
}

impl Terminate for RunOptions {
    fn terminate(&self) {
        if let Err(error) = RunOptions::terminate(self) {
            tracing::error!(%error, "ONNX Runtime cannot terminate a run");
        }
    }

    fn reset(&self) {
        if let Err(error) = RunOptions::unterminate(self) {
            tracing::error!(%error, "ONNX Runtime cannot allow runs again after a termination");
        }
    }
}

/// A run that fails on the CPU after a successful warm-up fails because of its
/// inputs; on other hardware, the hardware may be the cause.
fn failure(error: &ort::Error, on_cpu: bool) -> Error {
    let text = error.to_string();
    let out_of_memory = text.contains("allocate memory")
        || text.contains("bad_alloc")
        || text.contains("Available memory");
    let kind = error.code();
    if out_of_memory {
        return Error::overloaded("the model ran out of memory on these inputs").with_source(text);
    }
    if on_cpu || kind == ort::ErrorCode::InvalidArgument {
        let said = words::without_paths(&text, None);
        return Error::invalid(format!("the model refused these inputs: {said}")).with_source(text);
    }

    Error::internal("the execution provider failed").with_source(text)
}

fn to_value<'v>(view: &View<'v>, scratch: &'v mut Vec<u128>) -> ort::Result<SessionInputValue<'v>> {
    let bytes = match view.data {
        ViewData::Fixed(bytes) => bytes,
        ViewData::Strings(strings) => {
            let all: Vec<String> = strings.iter().map(str::to_owned).collect();
            return Ok(ort::value::Tensor::from_string_array((view.shape, all.as_slice()))?.into());
        }
    };

    macro_rules! typed {
        ($t:ty) => {{
            let elements: &[$t] = match bytemuck::checked::try_cast_slice(bytes) {
                Ok(elements) => elements,
                Err(_) => bytemuck::checked::cast_slice(&aligned(bytes, scratch)[..bytes.len()]),
            };
            Ok(TensorRef::from_array_view((view.shape, elements))?.into())
        }};
    }

    match view.dtype {
        DType::Bool => typed!(bool),
        DType::U8 => typed!(u8),
        DType::U16 => typed!(u16),
        DType::U32 => typed!(u32),
        DType::U64 => typed!(u64),
        DType::I8 => typed!(i8),
        DType::I16 => typed!(i16),
        DType::I32 => typed!(i32),
        DType::I64 => typed!(i64),
        DType::F16 => typed!(f16),
        DType::BF16 => typed!(bf16),
        DType::F32 => typed!(f32),
        DType::F64 => typed!(f64),
        DType::String => Err(ort::Error::new("strings expected")),
    }
}

fn aligned<'s>(bytes: &[u8], scratch: &'s mut Vec<u128>) -> &'s [u8] {
    scratch.resize(bytes.len().div_ceil(size_of::<u128>()), 0);
    let copy: &mut [u8] = bytemuck::cast_slice_mut(scratch);
    copy[..bytes.len()].copy_from_slice(bytes);
    copy
}

/// Copies the outputs of a run.
fn tensors(outputs: &SessionOutputs<'_>) -> Result<Vec<Tensor>> {
    outputs.values().map(|value| from_value(&value)).collect()
}

fn from_value(value: &DynValue) -> Result<Tensor> {
    let unfit = |e: ort::Error| Error::internal("read an output").with_source(e.to_string());
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(Error::internal("an output is not a tensor"));
    };
    let dims: Vec<usize> = shape
        .iter()
        .map(|d| usize::try_from(*d).unwrap_or(0))
        .collect();
    macro_rules! typed {
        ($t:ty, $dtype:expr) => {{
            let (_, elements) = value.try_extract_tensor::<$t>().map_err(unfit)?;
            Tensor::fixed(
                $dtype,
                dims,
                Bytes::copy_from_slice(bytemuck::cast_slice(elements)),
            )
        }};
    }

    match ty {
        TensorElementType::Bool => {
            let (_, elements) = value.try_extract_tensor::<bool>().map_err(unfit)?;
            Tensor::fixed(
                DType::Bool,
                dims,
                elements.iter().map(|b| u8::from(*b)).collect(),
            )
        }
        TensorElementType::Uint8 => typed!(u8, DType::U8),
        TensorElementType::Uint16 => typed!(u16, DType::U16),
        TensorElementType::Uint32 => typed!(u32, DType::U32),
        TensorElementType::Uint64 => typed!(u64, DType::U64),
        TensorElementType::Int8 => typed!(i8, DType::I8),
        TensorElementType::Int16 => typed!(i16, DType::I16),
        TensorElementType::Int32 => typed!(i32, DType::I32),
        TensorElementType::Int64 => typed!(i64, DType::I64),
        TensorElementType::Float16 => typed!(f16, DType::F16),
        TensorElementType::Bfloat16 => typed!(bf16, DType::BF16),
        TensorElementType::Float32 => typed!(f32, DType::F32),
        TensorElementType::Float64 => typed!(f64, DType::F64),
        TensorElementType::String => {
            let (_, all) = value.try_extract_strings().map_err(unfit)?;
            Strings::from_parts(all).and_then(|strings| Tensor::strings(dims, strings))
        }
        other => Err(Error::internal(format!(
            "an output has the unsupported datatype {other:?}"
        ))),
    }
    .map_err(|e| Error::internal("an output does not fit its own shape").with_source(e))
}
