//! Sessions of ONNX Runtime. Together with its folder, provider.rs and library.rs, the only
//! file that names `ort`. Owns the process-wide environment.

mod shared;
mod strings;
#[cfg(test)]
pub(crate) mod tests;

use super::provider::{self, Provider, ProviderKind};
use super::warnings::RuntimeWarnings;
use super::words;
use super::{Engine, Session, SessionOptions, SessionSource, SharedModel, Terminate};
use crate::core::error::{Error, Result};
use crate::core::model::optional::OptionalTensor;
use crate::core::tensor::{DType, Tensor, View, ViewData};
use crate::onnx::graph::maps;
use bytes::Bytes;
use half::{bf16, f16};
use ort::environment::Environment;
use ort::logging::{LogLevel, LoggerFunction};
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel};
use ort::session::{RunOptions, Session as OrtSession, SessionInputValue};
use ort::value::{DynValue, TensorElementType, TensorRef, ValueType};
use shared::{LoadedModel, ModelRunner};
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

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

        let without_maps = maps::as_tensors(&source.bytes)?;
        let bytes = without_maps.map_or_else(|| source.bytes.clone(), |w| w.file);
        provider::register(builder, chosen)?
            .commit_from_memory(&bytes)
            .map_err(|e| {
                let said = e.to_string();
                provider::without_device(chosen.kind, &said).unwrap_or_else(|| unfit(said))
            })
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
                    let provider = chosen.kind.name();
                    let opened = ModelRunner::new(session, provider == "cpu")
                        .and_then(|runner| OnnxSession::new(runner, provider));
                    let opened = opened
                        .map_err(|e| Error::internal("prepare runs").with_source(e.to_string()))?;
                    return Ok(Box::new(opened));
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
    runner: ModelRunner,
    /// Shared with the thread that may terminate a run.
    run_options: Arc<RunOptions>,
    provider: &'static str,
    /// Aligned copies of inputs that arrived misaligned, one per input.
    scratch: Vec<Vec<u128>>,
}

impl OnnxSession {
    fn new(runner: ModelRunner, provider: &'static str) -> ort::Result<Self> {
        // The client gets the error of a failed run. It is not logged, because any
        // client could fill the disk with such lines.
        let mut run_options = RunOptions::new()?;
        run_options.set_log_level(LogLevel::Fatal)?;

        Ok(Self {
            run_options: Arc::new(run_options),
            provider,
            scratch: vec![Vec::new(); runner.inputs()],
            runner,
        })
    }
}

impl Session for OnnxSession {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        self.run_with(inputs, &[])
    }

    fn run_with(
        &mut self,
        inputs: &[View<'_>],
        optional: &[OptionalTensor],
    ) -> Result<Vec<Tensor>> {
        let on_cpu = self.runner.is_on_cpu();
        let mut values = Vec::with_capacity(inputs.len() + optional.len());
        for (view, scratch) in inputs.iter().zip(&mut self.scratch) {
            values.push(to_value(view, scratch).map_err(|e| failure(&e, on_cpu))?);
        }

        let names = optional.iter().map(|given| shared::name(&given.name));
        let names: Vec<_> = names
            .collect::<ort::Result<_>>()
            .map_err(|e| failure(&e, on_cpu))?;
        let views: Vec<View<'_>> = optional.iter().map(|given| given.tensor.view()).collect();
        let mut copies = vec![Vec::new(); optional.len()];
        for (view, copy) in views.iter().zip(&mut copies) {
            values.push(to_value(view, copy).map_err(|e| failure(&e, on_cpu))?);
        }

        let outputs = self
            .runner
            .run(&values, &names, &self.run_options)
            .map_err(|e| failure(&e, on_cpu))?;
        outputs.iter().map(from_value).collect()
    }

    fn provider(&self) -> &'static str {
        self.provider
    }

    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        Some(Arc::clone(&self.run_options) as Arc<dyn Terminate>)
    }

    fn shared(&self) -> Option<Arc<dyn SharedModel>> {
        let model = Arc::downgrade(self.runner.shareable()?);
        Some(Arc::new(ShareableModel(model)))
    }
}

/// A model on the CPU provider, as long as one of its sessions lives.
struct ShareableModel(Weak<LoadedModel>);

impl SharedModel for ShareableModel {
    fn session(&self) -> Option<Box<dyn Session>> {
        let runner = self.0.upgrade()?.runner()?;
        let session = OnnxSession::new(runner, ProviderKind::Cpu.name()).ok()?;
        Some(Box::new(session))
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
            return Ok(strings::to_value(view.shape, strings)?.into());
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

/// Copies an output of a run.
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
            let count = crate::core::tensor::elements(&dims).unwrap_or(0);
            strings::from_value(value, count).and_then(|strings| Tensor::strings(dims, strings))
        }
        other => Err(Error::internal(format!(
            "an output has the unsupported datatype {other:?}"
        ))),
    }
    .map_err(|e| Error::internal("an output does not fit its own shape").with_source(e))
}
