//! Execution providers: which hardware a session asks for, and the rule that
//! an absent one is an error, never a silent run on the CPU.

use crate::core::error::{Error, Result};
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch};
use ort::session::builder::SessionBuilder;
use std::collections::BTreeMap;

/// A kind of hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ProviderKind {
    /// Always there.
    Cpu,
    /// NVIDIA, through CUDA.
    Cuda,
    /// NVIDIA, through TensorRT.
    Tensorrt,
}

impl ProviderKind {
    /// The name in configuration, logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }
}

/// One provider a model may run on, with ONNX Runtime's own option names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Provider {
    /// The hardware.
    pub kind: ProviderKind,
    /// Passed to ONNX Runtime unchanged.
    pub options: BTreeMap<String, String>,
}

/// Adds `provider` to a session being built. Fails where the ONNX Runtime
/// library in use, or the machine, does not have it.
pub(crate) fn register(builder: SessionBuilder, provider: &Provider) -> Result<SessionBuilder> {
    let dispatch = match provider.kind {
        ProviderKind::Cpu => return Ok(builder),
        ProviderKind::Cuda => configured(ep::CUDA::default(), &provider.options)?,
        ProviderKind::Tensorrt => configured(ep::TensorRT::default(), &provider.options)?,
    };

    builder.with_execution_providers([dispatch.error_on_failure()]).map_err(|error| {
        let name = provider.kind.name();
        Error::precondition(format!(
            "execution provider '{name}' is not available here; install an ONNX Runtime with {name} support and its \
             drivers, or list a fallback such as providers = [\"{name}\", \"cpu\"]"
        ))
        .with_source(error.to_string())
    })
}

fn configured<P>(
    mut provider: P,
    options: &BTreeMap<String, String>,
) -> Result<ExecutionProviderDispatch>
where
    P: ArbitrarilyConfigurableExecutionProvider + Into<ExecutionProviderDispatch>,
{
    for (key, value) in options {
        if key.contains('\0') || value.contains('\0') {
            return Err(Error::invalid("a provider option contains a NUL byte"));
        }
        provider = provider.with_arbitrary_config(key, value);
    }

    Ok(provider.into())
}
