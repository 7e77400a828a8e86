//! Metrics of padding. Only versions whose padding is declared have them.

use super::{Catalogue, SERVED};
use crate::core::error::Result;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// The families of padding.
pub(super) struct PaddingFamilies {
    active: IntGaugeVec,
    tokens: IntCounterVec,
}

/// The series of one version.
pub(super) struct PaddingSeries {
    pub(super) active: IntGauge,
    pub(super) real: IntCounter,
    pub(super) padded: IntCounter,
}

/// Tokens of requests, and tokens that padding added.
const KINDS: [&str; 2] = ["real", "padded"];

impl PaddingFamilies {
    pub(super) fn new(r: &Catalogue) -> Result<Self> {
        Ok(Self {
            active: r.gauges(
                "ortus_padding_active",
                "1 while requests of the version are padded, 0 while they are not although padding is declared.",
                SERVED,
            )?,
            tokens: r.counters(
                "ortus_padding_tokens_total",
                "Tokens, rows times length, that ran while padding was on: `real` ones of requests, and `padded` ones that padding added.",
                &["model", "version", "kind"],
            )?,
        })
    }

    pub(super) fn of(&self, model: &str, version: &str) -> PaddingSeries {
        let [real, padded] =
            KINDS.map(|kind| self.tokens.with_label_values(&[model, version, kind]));
        PaddingSeries {
            active: self.active.with_label_values(&[model, version]),
            real,
            padded,
        }
    }

    /// Removes the series of a version.
    pub(super) fn remove(&self, model: &str, version: &str) {
        let _ = self.active.remove_label_values(&[model, version]);
        for kind in KINDS {
            let _ = self.tokens.remove_label_values(&[model, version, kind]);
        }
    }
}
