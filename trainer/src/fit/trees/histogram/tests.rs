//! Tests of `histogram`.

use super::super::super::bins::Cut;
use super::*;

#[test]
fn histograms_do_not_depend_on_threads_and_add_up() {
    let rows = 100_000;
    let bytes = (0..rows * 3)
        .map(|i| ((i * 2_654_435_761) >> 7) as u8)
        .collect();
    let data = Binned {
        rows,
        cuts: vec![Cut::Category; 3],
        bytes,
    };

    let gradients: Vec<[f32; 2]> = (0..rows).map(|i| [(i as f32 * 0.37).sin(), 1.0]).collect();
    let all: Vec<u32> = (0..rows as u32).collect();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        pool.install(|| Histogram::of(&data, &all, &gradients))
    };

    let (one, four) = (with(1), with(4));
    assert!(one.0 == four.0, "to the last bit");
    let counted: f64 = one.0[0].iter().map(|p| p[1]).sum();
    assert_eq!(counted, rows as f64);
    let part = Histogram::of(&data, &all[..1_000], &gradients);
    let rest = one.without(&part);
    let counted: f64 = rest.0[2].iter().map(|p| p[1]).sum();
    assert_eq!(counted, (rows - 1_000) as f64);
}
