//! The counts of a version that servers share: what this one counted since it last told, and what others
//! tell.

use super::VersionWatch;
use crate::observe::drift::column::WatchedColumn;
use crate::observe::drift::layout::Side;
use crate::observe::drift::sketch::Sketch;
use crate::observe::report::column::BaselineSource;
use std::collections::HashMap;

impl VersionWatch {
    /// Returns the counts since the last call. None without a training baseline: only with it do
    /// all servers count in the same cells.
    pub(crate) fn sketch(&mut self) -> Option<Sketch> {
        let rows = std::mem::take(&mut self.unreported_rows);
        if self.source != BaselineSource::Training || rows == 0 {
            return None;
        }
        let watched = self.columns.iter_mut().chain(self.parts.watched());
        Some(Sketch {
            model: self.subject.model.to_string(),
            version: self.subject.version.number(),
            digest: self.subject.digest.to_string(),
            rows,
            columns: watched.map(WatchedColumn::take_counts).collect(),
        })
    }

    /// Adds the counts of a server to the open window.
    pub(crate) fn merge(&mut self, sketch: &Sketch) {
        self.window_rows += sketch.rows;
        self.sampled_rows += sketch.rows;
        let counted: HashMap<(bool, &str), _> = sketch
            .columns
            .iter()
            .map(|counts| ((counts.input, counts.name.as_str()), counts))
            .collect();
        for column in self.columns.iter_mut().chain(self.parts.watched()) {
            let (side, name) = column.key();
            if let Some(counts) = counted.get(&(side == Side::Input, name.as_str())) {
                column.merge(counts);
            }
        }
    }
}
