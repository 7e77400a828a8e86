//! Tests of `keeping` with a store in memory.

use super::*;
use crate::observe::drift::incident::IncidentLog;
use crate::observe::drift::watch::VersionWatch;
use crate::observe::drift::watch::state::SavingTime;
use crate::observe::drift::watch::tests::{baseline, subject};
use crate::storage::store::Store;
use crate::storage::store::faulty::{Fault, Faulty};
use std::sync::Arc;
use tokio::runtime::Runtime;

fn keeper(records: &Records, name: &str, runtime: &Runtime) -> StateKeeper {
    let identity = ServerIdentity::new(name.to_owned(), None);
    StateKeeper::new(records.clone(), identity, runtime.handle().clone())
}

fn memory() -> Records {
    Records::of(Store::of(Arc::<Faulty>::default()), "n")
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

fn state(subject: &WatchSubject) -> Vec<u8> {
    let now = Instant::now();
    let watch = VersionWatch::new(subject.clone(), 1, now).expect("fits");
    let time = SavingTime { now, wall_ms: 0 };
    let saved = watch.save(&IncidentLog::default(), 0, time);
    saved.expect("few rows").write(BYTES_MAX).expect("small")
}

#[test]
fn two_servers_of_one_store_keep_their_states_apart() {
    let (runtime, records, of) = (runtime(), memory(), subject(Some(baseline())));
    let (first, second) = (
        keeper(&records, "a", &runtime),
        keeper(&records, "b", &runtime),
    );
    let written = runtime.block_on(first.write(&first.key(&of), state(&of)));
    written.expect("written");
    assert!(matches!(first.read(&of).state, Some(Ok(_))));
    assert!(second.read(&of).state.is_none());
    let other = WatchSubject {
        version: Version::new(2).expect("legal"),
        ..of
    };
    assert!(first.read(&other).state.is_none());
}

#[test]
fn damaged_and_too_large_objects_are_refused_with_a_reason() {
    let (runtime, of) = (runtime(), subject(None));
    let keeper = keeper(&memory(), "a", &runtime);
    for bytes in [b"{".to_vec(), vec![b' '; BYTES_MAX + 1]] {
        let written = runtime.block_on(keeper.write(&keeper.key(&of), bytes));
        written.expect("written");
        assert!(matches!(keeper.read(&of).state, Some(Err(_))));
    }
}

#[test]
fn the_baselines_of_the_three_newest_versions_of_a_model_are_kept() {
    let (runtime, of) = (runtime(), subject(None));
    let keeper = keeper(&memory(), "a", &runtime);
    for number in [2, 10, 9, 11] {
        let version = Version::new(number).expect("legal");
        let baseline = baseline();
        let write = keeper.write_baseline((&of.model, version), &baseline);
        runtime.block_on(write).expect("written");
    }
    let kept = keeper.read(&of).baselines;
    let versions: Vec<u64> = kept.iter().map(|(version, _)| version.number()).collect();
    assert_eq!(versions, [11, 10, 9]);
    assert_eq!(kept[0].1, baseline());
}

#[test]
fn a_store_that_stalls_delays_the_load_of_one_version_only() {
    let (runtime, of) = (runtime(), subject(None));
    let store = Arc::<Faulty>::default();
    let records = Records::of(Store::of(Arc::<Faulty>::clone(&store) as _), "n");
    let mut keeper = keeper(&records, "a", &runtime);
    keeper.read_max = Duration::from_millis(1);
    store.plan(&[Fault::Stalled, Fault::Stalled]);
    assert!(keeper.read(&of).state.is_none());
    assert!(keeper.read(&of).state.is_none());
    // The second load did not ask.
    assert!(!store.is_through());
}

#[test]
fn a_store_that_fails_is_not_asked_again_by_the_next_loads() {
    let (runtime, of) = (runtime(), subject(None));
    let store = Arc::<Faulty>::default();
    let records = Records::of(Store::of(Arc::<Faulty>::clone(&store) as _), "n");
    let keeper = keeper(&records, "a", &runtime);
    let written = runtime.block_on(keeper.write(&keeper.key(&of), state(&of)));
    written.expect("written");
    store.plan(&[Fault::Unreadable]);
    assert!(keeper.read(&of).state.is_none());
    assert!(store.is_through());
    // The store works again, and is left alone for a minute.
    assert!(keeper.read(&of).state.is_none());
}

#[test]
fn objects_that_nobody_wrote_for_40_days_are_deleted() {
    let (runtime, of) = (runtime(), subject(None));
    let keeper = keeper(&memory(), "a", &runtime);
    let written = runtime.block_on(keeper.write(&keeper.key(&of), state(&of)));
    written.expect("written");
    let sweep = |days| {
        let now = Utc::now() + TimeDelta::days(days) + TimeDelta::minutes(-1);
        runtime.block_on(keeper.sweep(now)).expect("swept")
    };
    assert_eq!((sweep(40), sweep(41), sweep(41)), (0, 1, 0));
    assert!(keeper.read(&of).state.is_none());
}
