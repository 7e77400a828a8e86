//! Which data a tensor refuses, and that stacking and splitting undo each other.

use super::batch::{Stack, split};
use super::compare::{Tolerance, agree, agree_at_scale, difference};
use super::*;
use proptest::prelude::*;

fn refused(result: Result<Tensor>, part: &str) {
    let error = result.expect_err("must be refused");
    assert!(
        error.message.contains(part),
        "{error} does not say {part:?}"
    );
}

#[test]
fn byte_count_must_be_the_product_of_shape_and_width() {
    for dtype in DType::ALL.into_iter().filter(|d| *d != DType::String) {
        let width = dtype.element_bytes().expect("fixed width");
        let good = Tensor::fixed(dtype, vec![2, 3], vec![0; 6 * width].into());
        assert_eq!(good.expect("fits").shape(), [2, 3]);
        refused(
            Tensor::fixed(dtype, vec![2, 3], vec![0; 6 * width - 1].into()),
            "takes",
        );
        refused(
            Tensor::fixed(dtype, vec![2, 3], vec![0; 6 * width + 1].into()),
            "takes",
        );
    }
}

#[test]
fn scalars_and_zero_length_dimensions_are_tensors() {
    assert_eq!(
        Tensor::fixed(DType::F32, vec![], vec![0; 4].into())
            .expect("scalar")
            .rows(),
        None
    );

    let empty = Tensor::fixed(DType::I64, vec![0, 1 << 40], Bytes::new());
    assert_eq!(empty.expect("no element").bytes(), 0);
}

#[test]
fn shape_from_the_wire_is_bounded() {
    assert_eq!(
        shape_from_wire(&[1; RANK_MAX]).expect("at the limit").len(),
        RANK_MAX
    );
    for (dims, part) in [
        (vec![1; RANK_MAX + 1], "rank 17"),
        (vec![2, -1], "negative"),
        (vec![i64::MAX, i64::MAX], "overflows"),
        (vec![1 << 31, 1 << 31, 4], "overflows"),
    ] {
        let error = shape_from_wire(&dims).expect_err("must be refused");
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn bool_bytes_are_zero_or_one() {
    refused(
        Tensor::fixed(DType::Bool, vec![3], vec![0, 1, 2].into()),
        "element 2 is 2",
    );
}

#[test]
fn string_prefixes_must_fill_the_buffer_exactly() {
    let raw =
        |bytes: &'static [u8]| Tensor::from_raw(DType::String, vec![1], Bytes::from_static(bytes));
    assert!(raw(b"\x02\0\0\0hi").is_ok());
    refused(raw(b"\x03\0\0\0hi"), "beyond");
    refused(raw(b"\xff\xff\xff\xffhi"), "beyond");
    refused(raw(b"\x02\0\0\0hi\x01"), "lacks its 4-byte length");
    assert!(raw(b"\x02\0\0\0\xff\0").is_ok());
    refused(raw(b"\x01\0\0\0a\x01\0\0\0b"), "takes 1 strings, got 2");
}

fn stacked(parts: &[Tensor]) -> Tensor {
    let mut stack = Stack::default();
    stack.fill(parts.iter());
    let view = stack.view();
    match view.data {
        ViewData::Fixed(bytes) => {
            assert_eq!(bytes.as_ptr().align_offset(16), 0);
            Tensor::fixed(
                view.dtype,
                view.shape.to_vec(),
                Bytes::copy_from_slice(bytes),
            )
        }
        ViewData::Strings(strings) => Tensor::strings(view.shape.to_vec(), strings.clone()),
    }
    .expect("a stack is a tensor")
}

#[test]
fn split_refuses_an_axis_that_is_not_the_sum_of_the_rows() {
    let tensor = Tensor::from_f32(vec![3, 1], &[1.0, 2.0, 3.0]).expect("fits");
    assert!(split(&tensor, &[1, 1]).is_err());
    assert!(split(&Tensor::from_f32(vec![], &[1.0]).expect("scalar"), &[1]).is_err());
}

proptest! {
    #[test]
    fn split_undoes_stack(rows in proptest::collection::vec(0_usize..5, 1..8), width in 0_usize..5, strings: bool) {
        let parts: Vec<Tensor> = rows.iter().enumerate().map(|(i, n)| {
            let count = n * width;
            if strings {
                let all = Strings::from_parts((0..count).map(|j| format!("{i}-{j}")));
                Tensor::strings(vec![*n, width], all.expect("plain text")).expect("fits")
            } else {
                let all: Vec<f32> = (0..count).map(|j| (i * 100 + j) as f32).collect();
                Tensor::from_f32(vec![*n, width], &all).expect("fits")
            }
        }).collect();

        let whole = stacked(&parts);
        let back = split(&whole, &rows).expect("rows add up");
        for (part, again) in parts.iter().zip(&back) {
            prop_assert_eq!(part.shape(), again.shape());
            prop_assert_eq!(part.to_raw(), again.to_raw());
        }
    }
}

#[test]
fn answers_agree_within_the_tolerance_only() {
    let floats = |values: &[f32]| Tensor::from_f32(vec![values.len()], values).expect("fits");
    assert!(agree(
        &floats(&[1.0, f32::NAN]),
        &floats(&[1.000_05, f32::NAN])
    ));
    assert!(!agree(&floats(&[1.0]), &floats(&[1.001])));
    assert!(!agree(&floats(&[f32::INFINITY]), &floats(&[1.0])));
    assert!(!agree(
        &floats(&[f32::INFINITY]),
        &floats(&[f32::NEG_INFINITY])
    ));
    assert!(agree(&floats(&[f32::INFINITY]), &floats(&[f32::INFINITY])));
    assert!(!agree(&floats(&[1.0]), &floats(&[1.0, 1.0])));
    let whole =
        |n: i64| Tensor::fixed(DType::I64, vec![1], n.to_le_bytes().to_vec().into()).expect("fits");
    assert!(agree(&whole(7), &whole(7)) && !agree(&whole(7), &whole(8)));
    assert!(!agree(&whole(1), &floats(&[1.0])));
}

#[test]
fn a_difference_names_the_element() {
    let floats = |values: &[f32]| Tensor::from_f32(vec![values.len()], values).expect("fits");
    let said = |a: &[f32], b: &[f32], absolute| {
        difference(
            &floats(a),
            &floats(b),
            Tolerance {
                relative: 0.0,
                absolute,
            },
        )
    };

    assert_eq!(said(&[1.0, 2.0], &[1.0, 2.5], 0.5), None);
    assert_eq!(
        said(&[1.0, 2.0], &[1.0, 2.5], 0.25).as_deref(),
        Some("2 and not 2.5 at element 1")
    );
    assert_eq!(
        said(&[1.0], &[1.0, 1.0], 9.0).as_deref(),
        Some("FP32 [1] and not FP32 [2]")
    );
}

#[test]
fn strings_are_equal_wherever_they_are_in_their_buffers() {
    let words = |all: &[&str]| {
        Tensor::strings(
            vec![all.len()],
            Strings::from_parts(all.iter().copied()).expect("fits"),
        )
        .expect("fits")
    };

    let parts = split(&words(&["a", "bc", "d"]), &[1, 1, 1]).expect("splits");
    assert!(
        agree(&parts[1], &words(&["bc"])),
        "a part of a batch is what is answered alone"
    );
    assert!(
        !agree(&parts[1], &words(&["bd"])) && !agree(&words(&["ab", "c"]), &words(&["a", "bc"]))
    );
}

#[test]
fn a_tolerance_at_scale_is_a_share_of_the_largest_number() {
    let row = |numbers: [f32; 2]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        Tensor::fixed(DType::F32, vec![1, 2], bytes.into()).unwrap()
    };
    // What is small beside the other number of its row may differ …
    assert!(agree_at_scale(&row([1e6, 1.0]), &row([1e6, 50.0])));
    // … and an answer that is small as a whole may not.
    assert!(!agree_at_scale(&row([1e-7, 2e-7]), &row([1e-7, 3e-7])));
    assert!(agree(&row([1e-7, 2e-7]), &row([1e-7, 3e-7])));
    assert!(agree_at_scale(&row([1e-7, 2e-7]), &row([1.00005e-7, 2e-7])));
    assert!(agree_at_scale(&row([0.0, f32::NAN]), &row([0.0, f32::NAN])));
}
