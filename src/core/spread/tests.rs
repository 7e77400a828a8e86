//! Tests of `spread`.

use super::*;
use std::collections::BTreeSet;
use std::sync::{Barrier, Mutex};

#[test]
fn results_are_in_order_on_any_number_of_threads() {
    let wanted: Vec<usize> = (0..100).map(|at| at * at).collect();
    for threads in [0, 1, 3, 200] {
        assert_eq!(spread(100, threads, |at| at * at), wanted, "{threads}");
    }
    assert_eq!(spread(0, 4, |at| at), Vec::<usize>::new());
}

#[test]
fn so_many_threads_work_at_once() {
    let (barrier, seen) = (Barrier::new(3), Mutex::new(BTreeSet::new()));
    spread(3, 3, |_| {
        // Nobody passes before all three are here.
        barrier.wait();
        let id = format!("{:?}", std::thread::current().id());
        seen.lock().expect("not poisoned").insert(id);
    });
    assert_eq!(seen.into_inner().expect("not poisoned").len(), 3);
}
