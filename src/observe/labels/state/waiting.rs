//! Why labels wait for their prediction, for reports and metrics. The model of such a label is not
//! known: only the prediction tells it.

#[cfg(test)]
mod tests;

use super::LabelState;
use crate::observe::labels::answers::lookup::FoundAnswers;
use crate::observe::labels::answers::name::{LossReason, made_ms, moment};
use crate::observe::report::performance::{WaitingLabels, WaitingReason};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Why a label waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::observe::labels) enum WaitReason {
    /// It is searched for, or the answer may not be in the store yet.
    Search,
    /// The prediction is older than the kept answers.
    Older,
    Lost(LossReason),
    /// Nobody knows.
    Unknown,
}

impl WaitReason {
    /// Every reason.
    pub(in crate::observe::labels) const ALL: [Self; 5] = [
        Self::Search,
        Self::Older,
        Self::Lost(LossReason::Queue),
        Self::Lost(LossReason::Store),
        Self::Unknown,
    ];

    /// Returns its name in reports and metrics.
    pub(in crate::observe::labels) fn code(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Older => "older",
            Self::Lost(reason) => reason.name(),
            Self::Unknown => "unknown",
        }
    }

    /// Says it in words, after the number of labels.
    fn text(self, since_ms: Option<u64>) -> String {
        let since = since_ms.map_or_else(
            || "none are kept".to_owned(),
            |ms| format!("since {}", moment(ms)),
        );
        match self {
            Self::Search => "wait until their predictions are searched for".to_owned(),
            Self::Older => {
                format!("wait for predictions that are older than the kept answers ({since})")
            }
            Self::Lost(LossReason::Queue) => {
                "wait for predictions that did not fit the queue of the monitor".to_owned()
            }
            Self::Lost(LossReason::Store) => {
                "wait for predictions made while the store did not take answers".to_owned()
            }
            Self::Unknown => "wait for predictions that no server remembers: of a server that \
                stopped without a flush, or of a model whose task is not known"
                .to_owned(),
        }
    }
}

/// What is known about the kept answers.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::observe::labels) struct KeptSince {
    /// When the oldest kept prediction was made; none before the first look, or if there is none.
    pub since_ms: Option<u64>,
    /// Predictions made since then may not be in the store yet.
    pub unwritten_ms: u64,
}

impl LabelState {
    /// Notes what a search did not find, and why.
    pub(in crate::observe::labels) fn explain(
        &mut self,
        wanted: &BTreeSet<Uuid>,
        looked: &FoundAnswers,
        kept: KeptSince,
    ) {
        let mut reasons: BTreeMap<WaitReason, u64> = BTreeMap::new();
        for id in self.pending.predictions() {
            let reason = reason_of(id, wanted, looked, kept);
            *reasons.entry(reason).or_default() += 1;
        }
        reasons.remove(&WaitReason::Search);
        (self.waiting, self.kept) = (reasons, kept);
    }

    /// Returns how many labels wait for each reason.
    pub(in crate::observe::labels) fn waiting(&self) -> BTreeMap<WaitReason, u64> {
        let mut waiting = self.waiting.clone();
        let explained: u64 = waiting.values().sum();
        let searched = (self.pending.len() as u64).saturating_sub(explained);
        if searched > 0 {
            waiting.insert(WaitReason::Search, searched);
        }
        waiting
    }

    /// Reports the labels that wait, and the answers that were lost.
    pub(in crate::observe::labels) fn waiting_report(
        &self,
        lost: BTreeMap<String, u64>,
    ) -> WaitingLabels {
        let reason = |(reason, labels): (WaitReason, u64)| WaitingReason {
            code: reason.code().to_owned(),
            labels,
            text: reason.text(self.kept.since_ms),
        };
        WaitingLabels {
            labels: self.pending.len() as u64,
            reasons: self.waiting().into_iter().map(reason).collect(),
            forgotten: self.forgotten,
            answers_since: self.kept.since_ms.map(moment),
            lost_predictions: lost,
        }
    }
}

fn reason_of(
    id: Uuid,
    wanted: &BTreeSet<Uuid>,
    looked: &FoundAnswers,
    kept: KeptSince,
) -> WaitReason {
    let made = made_ms(id);
    if !wanted.contains(&id) || looked.found.contains_key(&id) || made >= kept.unwritten_ms {
        return WaitReason::Search;
    }
    if let Some(reason) = looked.lost.get(&id) {
        return WaitReason::Lost(*reason);
    }
    match kept.since_ms {
        Some(since) if made >= since && looked.has_more => WaitReason::Search,
        Some(since) if made >= since => WaitReason::Unknown,
        _ => WaitReason::Older,
    }
}
