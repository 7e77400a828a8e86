//! What was sent of the fleet's incidents. One that the servers' own incidents tell already is withheld
//! until they close. Pure.

#[cfg(test)]
mod tests;

use crate::observe::drift::incident::{ColumnKey, IncidentLog};
use crate::observe::report::incident::{Incident, IncidentPhase};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The incidents of a version over all servers, and which of them were sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FleetLog {
    pub incidents: IncidentLog,
    /// The ids of the open ones that were sent.
    sent: BTreeSet<String>,
    /// The ids of the open ones that the servers tell themselves.
    withheld: BTreeSet<String>,
}

impl FleetLog {
    /// Chooses what is sent of the incidents that changed, and of those that were withheld. `covered`
    /// are the columns of the open incidents that the servers sent.
    pub(super) fn choose(
        &mut self,
        changed: &[Incident],
        covered: &BTreeSet<ColumnKey>,
        now: DateTime<Utc>,
    ) -> Vec<Incident> {
        let mut chosen = self.ended(changed);
        for (incident, columns) in self.incidents.open_with_columns() {
            let id = &incident.incident;
            let event = changed.iter().find(|event| event.incident == *id);
            if self.sent.contains(id) {
                chosen.extend(event.cloned());
                continue;
            }
            let was_withheld = self.withheld.contains(id);
            if event.is_none() && !was_withheld {
                continue;
            }
            if columns.is_subset(covered) {
                self.withheld.insert(id.clone());
                continue;
            }
            self.withheld.remove(id);
            self.sent.insert(id.clone());
            let opened = Incident {
                phase: IncidentPhase::Opened,
                updated: now,
                ..incident.clone()
            };
            chosen.push(event.filter(|_| !was_withheld).cloned().unwrap_or(opened));
        }
        chosen
    }

    /// Chooses the incidents that closed: those that were sent.
    fn ended(&mut self, changed: &[Incident]) -> Vec<Incident> {
        let is_closed = |event: &&Incident| event.phase == IncidentPhase::Closed;
        let mut ended = Vec::new();
        for event in changed.iter().filter(is_closed) {
            self.withheld.remove(&event.incident);
            if self.sent.remove(&event.incident) {
                ended.push(event.clone());
            }
        }
        ended
    }

    /// Takes the open incidents for sent. The server that merged before has sent them, and has not
    /// written which it withheld.
    pub(super) fn assume_told(&mut self) {
        let open = self.incidents.open_with_columns();
        let ids = open.map(|(incident, _)| incident.incident.clone());
        self.sent = ids.collect();
        self.withheld.clear();
    }
}
