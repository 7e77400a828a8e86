//! Which declared shapes are kept, and what replaces the others.

use super::*;
use crate::core::tensor::DType;
use crate::testing::tensor_spec;

fn signature(input: &[i64], outputs: &[Option<&[i64]>]) -> Signature {
    let output = |(i, shape): (usize, &Option<&[i64]>)| TensorSpec {
        name: format!("out{i}"),
        shape: shape.and_then(|shape| tensor_spec("", DType::F32, shape).shape),
        dtype: DType::F32,
    };
    Signature {
        inputs: vec![tensor_spec("x", DType::F32, input)],
        outputs: outputs.iter().enumerate().map(output).collect(),
        ..Signature::default()
    }
}

/// Shapes on the wire after the answers were seen, and which outputs were replaced.
fn followed(
    mut signature: Signature,
    one: &[&[usize]],
    two: Option<&[&[usize]]>,
) -> (Vec<Option<Vec<i64>>>, Vec<String>) {
    let all = |shapes: &[&[usize]]| shapes.iter().map(|s| s.to_vec()).collect::<Vec<_>>();
    let answered = AnsweredShapes {
        one: all(one),
        two: two.map(all),
    };
    let replaced = signature.follow(&answered);
    let shapes = signature.outputs.iter();
    let shapes = shapes.map(|o| o.shape.as_ref().map(|_| o.shape_to_wire()));
    (
        shapes.collect(),
        replaced.into_iter().map(|r| r.output).collect(),
    )
}

#[test]
fn a_label_declared_as_one_element_follows_the_rows() {
    let declared = signature(&[-1, 4], &[Some(&[1]), Some(&[-1, 3])]);
    assert!(declared.is_doubtful(&[vec![1], vec![1, 3]]));
    let (shapes, replaced) = followed(declared, &[&[1], &[1, 3]], Some(&[&[2], &[2, 3]]));
    assert_eq!(shapes, [Some(vec![-1]), Some(vec![-1, 3])]);
    assert_eq!(replaced, ["out0"]);
}

#[test]
fn swapped_and_missing_shapes_become_what_is_answered() {
    let swapped = signature(&[-1, 4], &[Some(&[-1, 3]), Some(&[-1])]);
    assert!(swapped.is_doubtful(&[vec![1], vec![1, 3]]));
    let (shapes, replaced) = followed(swapped, &[&[1], &[1, 3]], Some(&[&[2], &[2, 3]]));
    assert_eq!(shapes, [Some(vec![-1]), Some(vec![-1, 3])]);
    assert_eq!(replaced, ["out0", "out1"]);

    let missing = signature(&[-1, 4], &[None, None]);
    let (shapes, replaced) = followed(missing, &[&[1], &[1, 3]], Some(&[&[2], &[2, 3]]));
    assert_eq!(shapes, [Some(vec![-1]), Some(vec![-1, 3])]);
    assert_eq!(replaced, ["out0", "out1"]);
}

#[test]
fn shapes_that_agree_are_kept_as_they_are_declared() {
    for (input, output, one) in [
        (&[-1, 4][..], &[-1, 3][..], &[1, 3][..]),
        (&[-1, 4], &[-1, -1], &[1, 3]),
        (&[2, 4], &[2, 3], &[2, 3]),
        // A sum over all rows.
        (&[2, 4], &[], &[]),
    ] {
        let declared = signature(input, &[Some(output)]);
        assert!(!declared.is_doubtful(&[one.to_vec()]), "{output:?}");
        let (shapes, replaced) = followed(declared, &[one], None);
        assert_eq!(shapes, [Some(output.to_vec())]);
        assert!(replaced.is_empty());
    }

    // It has one element however many rows go in.
    let sum = signature(&[-1, 4], &[Some(&[1])]);
    assert!(sum.is_doubtful(&[vec![1]]));
    let (shapes, replaced) = followed(sum, &[&[1]], Some(&[&[1]]));
    assert_eq!((shapes, replaced.len()), (vec![Some(vec![1])], 0));
}

#[test]
fn lengths_that_may_depend_on_the_inputs_stay_open() {
    let ragged = signature(&[-1, -1], &[None, Some(&[-1, 7])]);
    let (shapes, _) = followed(ragged, &[&[1, 4], &[1, 4]], Some(&[&[2, 4], &[2, 4]]));
    assert_eq!(shapes, [Some(vec![-1, -1]), Some(vec![-1, -1])]);

    // Two rows were refused.
    let once = signature(&[-1, 4], &[None, Some(&[5])]);
    let (shapes, _) = followed(once, &[&[1, 3], &[1]], None);
    assert_eq!(shapes, [Some(vec![-1, 3]), Some(vec![-1])]);

    // Even the rank differs.
    let odd = signature(&[-1, 4], &[Some(&[-1])]);
    let (shapes, replaced) = followed(odd, &[&[1]], Some(&[&[2, 1]]));
    assert_eq!((shapes, replaced.len()), (vec![None], 1));
}

#[test]
fn fixed_inputs_give_fixed_outputs() {
    let swapped = signature(&[1, 4], &[Some(&[1, 3]), Some(&[1])]);
    assert!(!swapped.is_doubtful(&[vec![1], vec![1, 3]]));
    let (shapes, replaced) = followed(swapped, &[&[1], &[1, 3]], None);
    assert_eq!(shapes, [Some(vec![1]), Some(vec![1, 3])]);
    assert_eq!(replaced.len(), 2);
}
