//! Tests of `bins`.

use super::*;

#[test]
fn few_values_have_a_bin_each_and_many_have_bins_of_equal_size() {
    let cut = Cut::Number(edges(&[-0.0, 0.0, 1.0, 1.0, 2.0]));
    let parts: Vec<u8> = [-5.0, 0.0, 0.4, 0.6, 1.0, 2.0, f32::INFINITY]
        .iter()
        .map(|v| cut.bin_of(*v))
        .collect();
    assert_eq!(parts, [0, 0, 0, 1, 1, 2, 2]);

    assert_eq!(cut.bin_of(f32::NAN), ABSENT);
    let values: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
    let many = Cut::Number(edges(&values));
    let mut counts = [0_usize; 256];
    values
        .iter()
        .for_each(|v| counts[many.bin_of(*v) as usize] += 1);
    let filled: Vec<usize> = counts.iter().copied().filter(|c| *c > 0).collect();
    assert_eq!((filled.len(), counts[ABSENT as usize]), (PARTS_MAX, 0));
    assert!(filled.iter().all(|c| (35..=45).contains(c)), "{filled:?}");
}

#[test]
fn a_value_of_half_the_rows_has_its_own_bin() {
    let mut values = vec![0.0; 10_000];
    values.extend((1..=10_000).map(|i| i as f32));
    let cut = Cut::Number(edges(&values));
    assert!(cut.bin_of(0.0) == 0 && cut.bin_of(1.0) >= 1);
    let Cut::Number(edges) = cut else {
        panic!("a number")
    };
    assert!(edges.len() > 200, "{}", edges.len());
}

#[test]
fn an_edge_separates_adjacent_floating_point_numbers() {
    for low in [1.0_f32, 1e-40, -3.5, f32::MAX / 2.0, -f32::MIN_POSITIVE] {
        let high = low.next_up();
        let edge = between(low, high);
        assert!(low <= edge && edge < high, "{low:e} {edge:e} {high:e}");
    }

    assert!(between(-f32::MAX, f32::MAX) == 0.0);
}
