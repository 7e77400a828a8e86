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

    builder
        .with_execution_providers([dispatch.error_on_failure()])
        .map_err(|error| unavailable(provider.kind, None).with_source(error.to_string()))
}

/// What ONNX Runtime says of a device that is not there or cannot be used, rather than of a model.
const NO_DEVICE: [&str; 4] = [
    "no CUDA-capable device",
    "cudaSetDevice",
    "driver version is insufficient",
    "invalid device ordinal",
];

/// The error of a session that was refused because the provider's device cannot be used; none if what
/// ONNX Runtime said is about the model.
pub(crate) fn without_device(kind: ProviderKind, said: &str) -> Option<Error> {
    let is_device = kind != ProviderKind::Cpu && NO_DEVICE.iter().any(|sign| said.contains(sign));
    // The rest is for the authors of ONNX Runtime: functions before it, values after it.
    let reason = said.find("CUDA failure").map(|at| &said[at..]);
    let reason = reason.and_then(|reason| reason.split(" ; ").next());
    is_device.then(|| unavailable(kind, reason).with_source(said.to_owned()))
}

fn unavailable(kind: ProviderKind, reason: Option<&str>) -> Error {
    let name = kind.name();
    let reason = reason.map_or(String::new(), |reason| format!(" ({reason})"));
    Error::precondition(format!(
        "execution provider '{name}' is not available here{reason}; install an ONNX Runtime with {name} support and its \
         drivers, or list a fallback such as providers = [\"{name}\", \"cpu\"]"
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_told_from_a_model_that_is_refused() {
        let said = "/ort/cuda_call.cc:154 void CudaCall(int) [with THRW = true] CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=h ; file=f.cc";
        let error = without_device(ProviderKind::Cuda, said).expect("a missing device");
        let begin = "execution provider 'cuda' is not available here (CUDA failure 100: no CUDA-capable device is \
                     detected); install";
        assert!(error.message.starts_with(begin), "{}", error.message);
        assert!(without_device(ProviderKind::Cpu, said).is_none());
        let model = "Could not find an implementation for Einsum(12)";
        assert!(without_device(ProviderKind::Cuda, model).is_none());
    }
}
