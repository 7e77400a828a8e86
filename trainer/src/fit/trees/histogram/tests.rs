//! Tests of `histogram`.

use super::super::super::bins::Cut;
use super::super::super::large_bytes::LargeBytes;
use super::*;

/// Bins, given feature by feature.
fn binned(rows: usize, width: usize, bins: Vec<u8>) -> Binned {
    let bins = LargeBytes::Small(bins);
    Binned::by_feature(vec![Cut::Category; width], rows, bins)
}

#[test]
fn histograms_do_not_depend_on_threads_and_add_up() {
    let rows = 100_000;
    let bytes = (0..rows * 3)
        .map(|i| ((i * 2_654_435_761) >> 7) as u8)
        .collect();
    let data = binned(rows, 3, bytes);

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
    let counted: f64 = one.0[data.bins.places(0..1)].iter().map(|p| p[1]).sum();
    assert_eq!(counted, rows as f64);
    let part = Histogram::of(&data, &all[..1_000], &gradients);
    let rest = one.without(&part);
    let counted: f64 = rest.0[data.bins.places(2..3)].iter().map(|p| p[1]).sum();
    assert_eq!(counted, (rows - 1_000) as f64);
}

#[test]
fn any_number_of_features_is_added_up_row_by_row() {
    for width in [1, 3, 4, 5, 9] {
        let count = 5_000;
        let bytes: Vec<u8> = (0..count * width)
            .map(|i| ((i * 2_654_435_761) >> 9) as u8)
            .collect();
        let data = binned(count, width, bytes);
        let gradients: Vec<[f32; 2]> = (0..count).map(|i| [(i as f32).cos(), 0.25]).collect();

        let rows: Vec<u32> = (0..count as u32).filter(|row| row % 3 != 1).collect();
        let mut wanted = vec![[[0.0; 2]; 256]; width];
        for row in &rows {
            let [g, h] = gradients[*row as usize].map(f64::from);
            for (bin, sums) in data.row(*row as usize).iter().zip(&mut wanted) {
                let sum = &mut sums[usize::from(*bin)];
                *sum = [sum[0] + g, sum[1] + h];
            }
        }
        let sums = Histogram::of(&data, &rows, &gradients).0;
        for (feature, wanted) in wanted.iter().enumerate() {
            let bins = data.bins.of_feature(feature).iter();
            let sums = sums[data.bins.places(feature..feature + 1)].iter();
            assert!(
                bins.zip(sums)
                    .all(|(bin, sum)| wanted[usize::from(*bin)] == *sum),
                "feature {feature} of {width}"
            );
        }
    }
}
