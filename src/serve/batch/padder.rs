//! Padding while a version serves: whether requests are padded now, and to which length. The plan, which is
//! pure, decides the lengths; the lanes pad and cut.

use super::policy::TokenLimit;
use super::queue::AxisSizes;
use crate::core::error::Result;
use crate::core::model::padding::{PaddingPlan, RequestLength};
use crate::core::tensor::Tensor;
use crate::observe::metrics::servable::ServableMetrics;
use crate::observe::report::scheduler::PaddingNow;
use arc_swap::ArcSwapOption;
use std::sync::Arc;

/// Why requests are not padded until the test of padding has ended.
pub(crate) const PADDING_UNTESTED: &str = "the test of padding in the background has not ended";

/// The padding of a batcher.
pub(super) struct Padder {
    plan: Option<Arc<PaddingPlan>>,
    /// Why requests are not padded now.
    off: ArcSwapOption<String>,
}

impl Padder {
    /// Pads nothing until [`Padder::conclude`].
    pub(super) fn new(plan: Option<Arc<PaddingPlan>>) -> Self {
        Self {
            plan,
            off: ArcSwapOption::from_pointee(PADDING_UNTESTED.to_owned()),
        }
    }

    /// Starts or ends padding.
    pub(super) fn conclude(&self, result: std::result::Result<(), String>) {
        self.off.store(result.err().map(Arc::new));
    }

    /// Returns why requests are not padded although that is declared.
    pub(super) fn off(&self) -> Option<String> {
        self.plan.as_ref()?;
        self.off.load().as_deref().cloned()
    }

    /// The plan, if requests are padded now.
    pub(super) fn plan(&self) -> Option<&Arc<PaddingPlan>> {
        self.plan.as_ref().filter(|_| self.off.load().is_none())
    }

    /// The limit of tokens of a batch, whether or not requests are padded.
    pub(super) fn token_limit(&self) -> Option<TokenLimit> {
        let plan = self.plan.as_ref()?;
        Some(TokenLimit {
            max: plan.declared().tokens_max?,
            length_at: plan.length_at(),
        })
    }

    /// Returns the length of a request, if requests are padded now.
    pub(super) fn measure(&self, inputs: &[Tensor]) -> Option<RequestLength> {
        self.plan()?.measure(inputs)
    }

    /// The sizes of all axes but the first, as a padded request has them.
    pub(super) fn sizes(&self, inputs: &[Tensor], length: Option<RequestLength>) -> AxisSizes {
        let mut sizes = AxisSizes::new();
        let padded = self.plan.as_ref().zip(length);
        for (at, tensor) in inputs.iter().enumerate() {
            let padded = padded.and_then(|(plan, length)| Some((plan.axis(at)?, length.bucket)));
            for (axis, size) in tensor.shape().iter().enumerate().skip(1) {
                let bucket = padded.filter(|(padded, _)| *padded == axis);
                sizes.push(bucket.map_or(*size, |(_, bucket)| bucket));
            }
        }
        sizes
    }

    /// What is known of padding now, for reports; none if none is declared.
    pub(super) fn explain(&self, metrics: &ServableMetrics) -> Option<PaddingNow> {
        let plan = self.plan.as_ref()?;
        let declared = plan.declared();
        let (real, padded) = metrics.padding_tokens();
        Some(PaddingNow {
            off: self.off(),
            lengths: declared.lengths.clone(),
            tokens_max: declared.tokens_max,
            real_tokens: real,
            padded_tokens: padded,
        })
    }
}

/// A padded request whose answer is checked.
#[derive(Clone)]
pub(crate) struct PaddedSample {
    pub(super) plan: Arc<PaddingPlan>,
    pub(super) length: RequestLength,
}

impl PaddedSample {
    /// Cuts its outputs to its own length.
    pub(super) fn cut(&self, outputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        self.plan.cut_all(outputs, self.length)
    }
}
