//! Which versions the aliases of a model point at in this server: those of the log,
//! if the keys that are trusted here approved them. Pure.

#[cfg(test)]
mod tests;

use crate::core::model::{Alias, ModelName, Version};
use crate::registry::catalog::Pointers;
use crate::registry::fold::{NamespaceState, Record, RegisteredModel};
use crate::registry::sign::{Policy, Trust};
use std::collections::BTreeSet;

/// Which approvals count here: the log counts any key, this server only those
/// that it trusts.
pub(super) struct Approvers<'t> {
    /// Required by this server.
    own: u32,
    /// Required by the namespace now, by keys.
    namespace: u32,
    trust: &'t Trust,
    /// Versions that were admitted before: they stay, even if a key is revoked.
    admitted: &'t BTreeSet<(ModelName, Version)>,
}

impl<'t> Approvers<'t> {
    /// Reads what is required.
    pub(super) fn of(
        state: &NamespaceState,
        own: u32,
        trust: &'t Trust,
        admitted: &'t BTreeSet<(ModelName, Version)>,
    ) -> Self {
        let by_keys = state.signatures == Policy::Require;
        Self {
            own,
            namespace: if by_keys { state.approvals } else { 0 },
            trust,
            admitted,
        }
    }

    /// Whether a version may be champion here: it has the approvals it needed
    /// when it was promoted.
    fn champion(&self, name: &ModelName, version: Version, record: &Record) -> bool {
        self.admitted.contains(&(name.clone(), version))
            || self.has(record, self.own.max(record.needed))
    }

    /// Whether a version may have a traffic weight beside the champion.
    fn may_have_weight(&self, record: &Record) -> bool {
        self.has(record, self.own.max(self.namespace))
    }

    /// Whether enough trusted keys approved, and none rejected.
    fn has(&self, record: &Record, needed: u32) -> bool {
        let counted = || {
            record
                .vouched
                .iter()
                .filter(|(key, _)| self.trust.counts(key))
        };

        let given = counted().filter(|(_, yes)| **yes).count();
        needed == 0 || (given as u64 >= u64::from(needed) && counted().all(|(_, yes)| *yes))
    }
}

/// Returns the pointers of a model, and the champion of the log if this server
/// does not accept it.
pub(super) fn pointers(
    name: &ModelName,
    model: &RegisteredModel,
    warm: Option<Version>,
    approvers: &Approvers<'_>,
) -> (Pointers, Option<Version>) {
    let record = |version: Version| model.versions.get(&version);
    let approved = |v: &Version| record(*v).is_some_and(|r| approvers.champion(name, *v, r));
    // A champion that is not approved here is skipped: the one before it stays, and the target
    // of a rollback must be approved as well.
    let mut champions = model
        .champions
        .iter()
        .rev()
        .copied()
        .filter(|v| model.is_live(*v))
        .filter(approved);
    let (champion, previous) = (champions.next(), champions.next());

    let mut aliases = model.all_aliases();
    for (alias, version) in [(Alias::champion(), champion), (Alias::previous(), previous)] {
        aliases.remove(&alias);
        aliases.extend(version.map(|v| (alias, v)));
    }

    let split: Vec<_> = model
        .traffic
        .iter()
        .filter_map(|(to, percent)| Some((model.find(to)?, *percent)))
        .collect();
    let admitted = |v: &Version| {
        Some(*v) == champion || record(*v).is_some_and(|r| approvers.may_have_weight(r))
    };

    let traffic = if split.iter().all(|(v, _)| admitted(v)) {
        split
    } else {
        Vec::new()
    };

    // The previous champion is loaded only while it is kept warm, unless
    // something else points at it.
    let named = aliases
        .iter()
        .filter(|(alias, _)| **alias != Alias::previous())
        .map(|(_, v)| *v);
    let wanted = named
        .chain(traffic.iter().map(|(v, _)| *v))
        .chain(warm.filter(|v| previous == Some(*v)))
        .collect();
    let aliases = aliases
        .into_iter()
        .map(|(alias, v)| (alias.to_string(), v))
        .collect();
    let refused = model.champion().filter(|v| champion != Some(*v));

    (
        Pointers {
            champion,
            aliases,
            traffic,
            wanted,
        },
        refused,
    )
}
