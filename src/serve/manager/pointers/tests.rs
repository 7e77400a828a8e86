//! Tests of `pointers`.

use super::*;

fn version(number: u64) -> Version {
    Version::new(number).expect("legal")
}

fn pointers(champion: Option<u64>, aliases: &[(&str, u64)], traffic: &[(u64, u32)]) -> Pointers {
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
fn the_old_champion_serves_until_the_new_one_does() {
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
fn aliases_stay_until_their_new_version_serves_and_after_a_restart_the_previous_champion_may_serve()
{
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
fn without_a_champion_unversioned_requests_are_refused() {
    let none =
        Pointing::default().follow(&pointers(None, &[("challenger", 3)], &[]), &serving(&[3]));
    assert_eq!(none.unqualified, Unqualified::NoChampion);
    assert_eq!(none.labels["challenger"], version(3));
    let unloaded = Pointing::default().follow(&pointers(Some(1), &[], &[]), &serving(&[]));
    assert_eq!(unloaded.unqualified, Unqualified::NoChampion);
}

#[test]
fn the_champion_gets_the_weight_of_a_version_that_does_not_serve() {
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
