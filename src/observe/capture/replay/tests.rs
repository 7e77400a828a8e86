//! Tests of `replay`.

use super::*;

#[test]
fn outputs_are_compared_one_by_one() {
    let y = |v: f32| {
        vec![(
            "y".to_owned(),
            Tensor::from_f32(vec![1], &[v]).expect("fits"),
        )]
    };

    let mut found = ReplayComparison::default();
    found.answered("a", &y(1.0), &y(1.000_001), Duration::from_micros(10));
    found.answered("b", &y(1.0), &y(1.5), Duration::from_micros(30));
    found.answered("c", &y(1.0), &[], Duration::from_micros(20));
    found.failed("d", &Error::unavailable("gone"));
    found.skipped("e", &Error::precondition("hashed"));
    assert_eq!(
        (
            found.sent,
            found.same,
            found.different,
            found.failed,
            found.skipped
        ),
        (4, 1, 2, 1, 1)
    );

    let output = &found.outputs["y"];
    assert_eq!((output.different, output.difference_max), (2, 0.5));
    assert!((output.difference_mean - 0.25).abs() < 1e-6);
    assert_eq!((found.time_us(0.5), found.time_us(1.0)), (20, 30));
    assert!(
        found.examples[0].contains("b: output 'y' is 1.5 and not 1"),
        "{:?}",
        found.examples
    );
}
