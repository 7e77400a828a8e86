//! Which versions aliases and traffic weights mean while versions are loaded and
//! unloaded: a name moves to a new version only once that one serves. Pure.

use crate::core::model::{Alias, Version};
use crate::registry::catalog::Pointers;
use crate::serve::route::Unqualified;
use std::collections::{BTreeMap, BTreeSet};

/// Where names point now.
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

    /// Follows `pointers` as far as `serving` allows; what is not serving yet
    /// leaves a name where it was, if that still serves.
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
        // After a restart the champion may be refused: then the one before it serves.
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

    /// Lists the versions to load or to keep: the wanted ones, and those that
    /// stand in for a version that does not serve. Where none stands in for the
    /// champion, as after a restart, the champion before it is wanted.
    pub(super) fn keep(&self, pointers: &Pointers, serving: &BTreeSet<Version>) -> Vec<Version> {
        let previous = Alias::previous().to_string();
        let missing = pointers
            .aliases
            .iter()
            .filter(|(alias, v)| **alias != previous && !serving.contains(v));
        let stand_ins = missing.filter_map(|(alias, _)| self.labels.get(alias).copied());
        let nobody =
            pointers.champion.is_some_and(|v| !serving.contains(&v)) && self.champion().is_none();
        let before = pointers.aliases.get(&previous).copied().filter(|_| nobody);
        pointers
            .wanted
            .iter()
            .copied()
            .chain(stand_ins)
            .chain(before)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64) -> Version {
        Version::new(number).expect("legal")
    }

    fn pointers(
        champion: Option<u64>,
        aliases: &[(&str, u64)],
        traffic: &[(u64, u32)],
    ) -> Pointers {
        let mut all: BTreeMap<String, Version> = aliases
            .iter()
            .map(|(a, v)| ((*a).to_owned(), version(*v)))
            .collect();
        all.extend(champion.map(|v| ("champion".to_owned(), version(v))));
        let traffic: Vec<_> = traffic
            .iter()
            .map(|(v, percent)| (version(*v), *percent))
            .collect();
        let wanted = all
            .values()
            .copied()
            .chain(traffic.iter().map(|(v, _)| *v))
            .collect();
        Pointers {
            champion: champion.map(version),
            aliases: all,
            traffic,
            wanted,
        }
    }

    fn serving(all: &[u64]) -> BTreeSet<Version> {
        all.iter().map(|v| version(*v)).collect()
    }

    #[test]
    fn the_old_champion_stands_in_until_the_new_one_serves() {
        let first = Pointing::default().follow(&pointers(Some(1), &[], &[]), &serving(&[1]));
        assert_eq!(first.unqualified, Unqualified::Champion(version(1)));
        let promoted = pointers(Some(2), &[], &[]);
        let waiting = first.follow(&promoted, &serving(&[1]));
        assert_eq!(waiting.unqualified, Unqualified::Champion(version(1)));
        assert_eq!(
            waiting.keep(&promoted, &serving(&[1])),
            [version(2), version(1)]
        );
        let swapped = waiting.follow(&promoted, &serving(&[1, 2]));
        assert_eq!(swapped.unqualified, Unqualified::Champion(version(2)));
        assert_eq!(swapped.keep(&promoted, &serving(&[1, 2])), [version(2)]);
    }

    #[test]
    fn every_alias_has_a_stand_in_and_a_refused_champion_after_a_restart_the_one_before() {
        let first = Pointing::default().follow(
            &pointers(Some(1), &[("challenger", 3)], &[]),
            &serving(&[1, 3]),
        );
        let moved = pointers(Some(1), &[("challenger", 4)], &[]);
        let waiting = first.follow(&moved, &serving(&[1, 3]));
        assert_eq!(waiting.labels["challenger"], version(3));
        assert_eq!(
            waiting.keep(&moved, &serving(&[1, 3])),
            [version(1), version(4), version(3)]
        );
        let mut fresh = pointers(Some(2), &[], &[]);
        fresh.aliases.insert("previous".to_owned(), version(1));
        assert_eq!(
            Pointing::default().keep(&fresh, &serving(&[])),
            [version(2), version(1)]
        );
        let refused = Pointing::default().follow(&fresh, &serving(&[1]));
        assert_eq!(refused.unqualified, Unqualified::Champion(version(1)));
        assert_eq!(
            refused.follow(&fresh, &serving(&[1, 2])).unqualified,
            Unqualified::Champion(version(2))
        );
    }

    #[test]
    fn without_a_champion_nobody_answers() {
        let none =
            Pointing::default().follow(&pointers(None, &[("challenger", 3)], &[]), &serving(&[3]));
        assert_eq!(none.unqualified, Unqualified::NoChampion);
        assert_eq!(none.labels["challenger"], version(3));
        let unloaded = Pointing::default().follow(&pointers(Some(1), &[], &[]), &serving(&[]));
        assert_eq!(unloaded.unqualified, Unqualified::NoChampion);
    }

    #[test]
    fn the_share_of_a_version_that_does_not_serve_is_the_champions() {
        let split = pointers(Some(1), &[], &[(1, 80), (2, 15), (3, 5)]);
        let some = Pointing::default().follow(&split, &serving(&[1, 2]));
        assert_eq!(
            some.unqualified,
            Unqualified::Split(vec![(version(1), 85), (version(2), 15)])
        );
        let one = Pointing::default().follow(&split, &serving(&[1]));
        assert_eq!(one.unqualified, Unqualified::Champion(version(1)));
        assert_eq!(
            Pointing::default()
                .follow(&split, &serving(&[]))
                .unqualified,
            Unqualified::NoChampion
        );
    }
}
