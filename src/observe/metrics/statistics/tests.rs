//! Tests of `statistics`.

use super::*;

#[test]
fn batches_counted_by_many_threads_are_all_counted_by_size() {
    let statistics = Statistics::default();
    let sizes = [1, 65, 129, 7];
    let phases = [2, 3, 5].map(Duration::from_nanos);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for rows in sizes.into_iter().cycle().take(4_000) {
                    statistics.record_run(rows, phases);
                }
            });
        }
    });

    let expected = sizes.map(|rows| (rows, [4_000, 8_000, 12_000, 20_000]));
    assert_eq!(statistics.batches(), BTreeMap::from(expected));
    assert_eq!(statistics.rows(), 4_000 * sizes.iter().sum::<u64>());
    assert_eq!(statistics.runs(), 16_000);
}
