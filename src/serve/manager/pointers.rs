//! Which versions aliases and traffic weights select while versions are loaded and unloaded: an
//! alias moves to a new version only once that version serves. Pure.

#[cfg(test)]
mod tests;

use crate::core::model::{Alias, Version};
use crate::registry::catalog::Pointers;
use crate::serve::route::Unqualified;
use std::collections::{BTreeMap, BTreeSet};

/// The versions that aliases and traffic weights select now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointing {
    pub labels: BTreeMap<String, Version>,
    pub unqualified: Unqualified,
}

impl Pointing {
    /// Returns the version that serves as champion.
    pub(super) fn champion(&self) -> Option<Version> {
        self.labels.get(&Alias::champion().to_string()).copied()
    }

    /// Follows `pointers` as far as versions serve. An alias whose new version does not serve yet
    /// stays at its old one, if that still serves.
    pub(super) fn follow(&self, pointers: &Pointers, serving: &BTreeSet<Version>) -> Self {
        let stay = |alias: &String| {
            self.labels
                .get(alias)
                .copied()
                .filter(|v| serving.contains(v))
        };

        let labels: BTreeMap<String, Version> = pointers
            .aliases
            .iter()
            .filter_map(|(alias, version)| {
                let version = if serving.contains(version) {
                    Some(*version)
                } else {
                    stay(alias)
                };
                Some((alias.clone(), version?))
            })
            .collect();

        let mut next = Self {
            labels,
            unqualified: Unqualified::NoChampion,
        };
        // After a restart the champion may be refused; then the previous champion serves.
        let previous = pointers.aliases.get(&Alias::previous().to_string());
        let before = previous
            .copied()
            .filter(|v| serving.contains(v) && pointers.champion.is_some());
        if let (None, Some(before)) = (next.champion(), before) {
            next.labels.insert(Alias::champion().to_string(), before);
        }

        let champion = next.champion();
        let mut split: BTreeMap<Version, u32> = BTreeMap::new();
        for (version, percent) in &pointers.traffic {
            // The champion gets the weight of a version that does not serve.
            if let Some(to) = Some(*version).filter(|v| serving.contains(v)).or(champion) {
                *split.entry(to).or_default() += percent;
            }
        }

        next.unqualified = match (split.len(), champion) {
            (2.., _) => Unqualified::Split(split.into_iter().collect()),
            (1, _) => split
                .keys()
                .next()
                .map_or(Unqualified::NoChampion, |v| Unqualified::Champion(*v)),
            (0, Some(version)) => Unqualified::Champion(version),
            (0, None) => Unqualified::NoChampion,
        };

        next
    }

    /// Lists the versions to load or to keep: the wanted ones, and those that serve in place of a
    /// version that does not. If none serves in place of the champion, as after a restart, the
    /// previous champion is wanted.
    pub(super) fn keep(&self, pointers: &Pointers, serving: &BTreeSet<Version>) -> Vec<Version> {
        let previous = Alias::previous().to_string();
        let missing = pointers
            .aliases
            .iter()
            .filter(|(alias, v)| **alias != previous && !serving.contains(v));
        let stand_ins = missing.filter_map(|(alias, _)| self.labels.get(alias).copied());

        let has_no_champion =
            pointers.champion.is_some_and(|v| !serving.contains(&v)) && self.champion().is_none();
        let before = pointers
            .aliases
            .get(&previous)
            .copied()
            .filter(|_| has_no_champion);
        pointers
            .wanted
            .iter()
            .copied()
            .chain(stand_ins)
            .chain(before)
            .collect()
    }
}
