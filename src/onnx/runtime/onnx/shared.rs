//! A session that several lanes may run at once, so that they hold its weights once.
//!
//! `ort` asks for `&mut` because some execution providers are not safe here. The CPU provider is:
//! "the session is stateless and Run may be called concurrently" (maintainers of ONNX Runtime, issues
//! microsoft/onnxruntime#114, #5558 and #22967). So the run goes through the C interface, and only
//! sessions all of whose nodes run on the CPU provider are handed to a second lane.

use ort::AsPointer;
use ort::session::{RunOptions, Session as OrtSession, SessionInputValue};
use ort::value::DynValue;
use smallvec::{SmallVec, smallvec};
use std::ffi::{CString, c_char};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

/// One of each input or output, of which most models have few.
type FewOf<T> = SmallVec<[T; 8]>;

/// A session with the names that a run needs.
pub(super) struct LoadedModel {
    session: OrtSession,
    /// Names of the required inputs, in the graph's order.
    inputs: Vec<CString>,
    outputs: Vec<CString>,
    /// Whether every node runs on the CPU provider, where runs at the same time are safe.
    on_cpu: bool,
}

/// The right to run a model on one thread. On the CPU provider a model has several; else one.
pub(super) struct ModelRunner {
    model: Arc<LoadedModel>,
}

impl LoadedModel {
    /// Returns one more right to run; none where runs at the same time are not safe.
    pub(super) fn runner(self: Arc<Self>) -> Option<ModelRunner> {
        self.on_cpu.then_some(ModelRunner { model: self })
    }
}

impl ModelRunner {
    /// Takes a session of which no other handle exists.
    pub(super) fn new(session: OrtSession, on_cpu: bool) -> ort::Result<Self> {
        let inputs = session.inputs().iter().map(|input| name(input.name()));
        let inputs: Vec<CString> = inputs.collect::<ort::Result<_>>()?;
        let outputs = session.outputs().iter().map(|output| name(output.name()));
        let outputs: Vec<CString> = outputs.collect::<ort::Result<_>>()?;

        let model = Arc::new(LoadedModel {
            session,
            inputs,
            outputs,
            on_cpu,
        });
        Ok(Self { model })
    }

    /// The model, where other threads may run it too.
    pub(super) fn shareable(&self) -> Option<&Arc<LoadedModel>> {
        Some(&self.model).filter(|model| model.on_cpu)
    }

    /// Number of required inputs.
    pub(super) fn inputs(&self) -> usize {
        self.model.inputs.len()
    }

    pub(super) fn is_on_cpu(&self) -> bool {
        self.model.on_cpu
    }

    /// Runs once, on the required inputs and then on those of the given names.
    pub(super) fn run(
        &mut self,
        values: &[SessionInputValue<'_>],
        optional: &[CString],
        options: &RunOptions,
    ) -> ort::Result<Vec<DynValue>> {
        let model = &self.model;
        let required = values.len().saturating_sub(optional.len());
        let names = model.inputs.iter().take(required).chain(optional);
        let names: FewOf<*const c_char> = names.map(|name| name.as_ptr()).collect();
        if names.len() != values.len() {
            return Err(ort::Error::new_with_code(
                ort::ErrorCode::InvalidArgument,
                "a run has more inputs than the model",
            ));
        }
        let inputs: FewOf<_> = values.iter().map(|value| value.ptr()).collect();
        let output_names = model.outputs.iter().map(|name| name.as_ptr());
        let output_names: FewOf<*const c_char> = output_names.collect();
        let mut outputs: FewOf<_> = smallvec![null_mut(); output_names.len()];

        // SAFETY: every pointer is of a value that lives until the call returns, and each list is as
        // long as its number says. The names end with NUL. Another thread runs the same session at
        // this moment only on the CPU provider (`LoadedModel::runner`), whose sessions are safe to
        // run concurrently; a terminate flag is made to be set by another thread, and `options`
        // belongs to this lane.
        let status = unsafe {
            (ort::api().Run)(
                model.session.ptr().cast_mut(),
                options.ptr(),
                names.as_ptr(),
                inputs.as_ptr(),
                inputs.len(),
                output_names.as_ptr(),
                output_names.len(),
                outputs.as_mut_ptr(),
            )
        };
        // SAFETY: the status comes from the call above and is used once.
        unsafe { ort::Error::result_from_status(status) }?;

        let allocator = model.session.allocator();
        let made = outputs.into_iter().map(|output| {
            let output = NonNull::new(output);
            let output = output.ok_or_else(|| ort::Error::new("a run has no output"))?;
            // SAFETY: the run made this value, and nothing else owns it.
            Ok(unsafe { DynValue::from_ptr(output, Some(allocator)) })
        });
        made.collect()
    }
}

/// A name for the C interface.
pub(super) fn name(text: &str) -> ort::Result<CString> {
    CString::new(text).map_err(|_| ort::Error::new("a name contains a NUL byte"))
}
