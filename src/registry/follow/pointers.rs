//! What the names of a model stand for in this server: what the log says, held
//! to the keys that are trusted here. Pure, but for the trust file.

use crate::model::{Alias, Version};
use crate::registry::catalog::Pointers;
use crate::registry::fold::{Model, Record, State};
use crate::registry::sign::{Policy, Trust};
use std::path::Path;

/// Whose approvals count here: the log counts any key, this server those that
/// it trusts.
pub(super) struct Approvers {
    /// Asked for here, whatever the namespace asks for.
    own: u32,
    /// Asked for by the namespace now, by keys.
    namespace: u32,
    trust: Trust,
}

impl Approvers {
    /// Finds out by what is asked for. The trust file is read each time; one
    /// that cannot be read trusts nobody.
    pub(super) fn of(state: &State, own: u32, trust: Option<&Path>) -> Self {
        let by_keys = state.signatures == Policy::Require;
        let trust = trust.and_then(|path| Trust::read(path).ok());
        Self { own, namespace: if by_keys { state.approvals } else { 0 }, trust: trust.unwrap_or_default() }
    }

    /// Whether a version may be champion here: it has the approvals it needed
    /// when it was promoted.
    fn champion(&self, record: &Record) -> bool {
        self.has(record, self.own.max(record.needed))
    }

    /// Whether a version may have a share of the traffic beside the champion.
    fn share(&self, record: &Record) -> bool {
        self.has(record, self.own.max(self.namespace))
    }

    fn has(&self, record: &Record, needed: u32) -> bool {
        let given = record.vouched.iter().filter(|(key, yes)| **yes && self.trust.counts(key)).count();
        given as u64 >= u64::from(needed)
    }
}

/// What a model's names stand for; and the version that the log calls champion
/// and this server does not.
pub(super) fn pointers(model: &Model, warm: Option<Version>, approvers: &Approvers) -> (Pointers, Option<Version>) {
    let is = |version: &Version, admits: &dyn Fn(&Record) -> bool| model.versions.get(version).is_some_and(admits);
    let mut aliases = model.all_aliases();
    // One that is not approved here is none: the one before it stays.
    let live = model.champions.iter().rev().copied().filter(|v| model.is_live(*v));
    let champion = live.clone().find(|v| is(v, &|record| approvers.champion(record)));
    aliases.remove(&Alias::champion());
    aliases.extend(champion.map(|v| (Alias::champion(), v)));
    let previous = model.previous();
    let split: Vec<_> = model.traffic.iter().filter_map(|(to, percent)| Some((model.find(to)?, *percent))).collect();
    let admitted = |v: &Version| Some(*v) == champion || is(v, &|record| approvers.share(record));
    let traffic = if split.iter().all(|(v, _)| admitted(v)) { split } else { Vec::new() };
    // The one before the champion is loaded only while it is warm, unless
    // something else points at it.
    let named = aliases.iter().filter(|(alias, _)| **alias != Alias::previous()).map(|(_, v)| *v);
    let wanted = named.chain(traffic.iter().map(|(v, _)| *v)).chain(warm.filter(|v| previous == Some(*v))).collect();
    let aliases = aliases.into_iter().map(|(alias, v)| (alias.to_string(), v)).collect();
    let refused = model.champion().filter(|v| champion != Some(*v));
    (Pointers { champion, aliases, traffic, wanted }, refused)
}
