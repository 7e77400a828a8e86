//! Classes in the place of scores.

use super::*;

fn texts(tensor: &Tensor) -> (Vec<usize>, Vec<String>) {
    let Data::Strings(strings) = tensor.data() else {
        panic!("{tensor:?}");
    };
    let words = strings.words().map(str::to_owned).collect();
    (tensor.shape().to_vec(), words)
}

fn top(
    scores: &Tensor,
    has_rows: bool,
    wanted: usize,
    classes: &[&str],
) -> (Vec<usize>, Vec<String>) {
    let classes: Vec<String> = classes.iter().map(|c| (*c).to_owned()).collect();
    texts(&top_classes(scores, has_rows, wanted, &classes).expect("numbers"))
}

#[test]
fn the_highest_scores_of_each_row_come_with_their_places_and_names() {
    let scores = Tensor::from_f32(vec![2, 3], &[0.1, 0.7, 0.2, 0.5, 0.0, 0.5]).expect("fits");
    let (shape, words) = top(&scores, true, 2, &["cat", "dog", "fish"]);
    assert_eq!(shape, [2, 2]);
    let expected = [
        "0.700000:1:dog",
        "0.200000:2:fish",
        "0.500000:0:cat",
        "0.500000:2:fish",
    ];
    assert_eq!(words, expected);
    // More than there are, and names that are not of these scores.
    let (shape, words) = top(&scores, true, 9, &["one"]);
    assert_eq!((shape, words[0].as_str()), (vec![2, 3], "0.700000:1"));
    // Without rows, the whole tensor is one list.
    let (shape, words) = top(&scores, false, 1, &[]);
    assert_eq!((shape, words), (vec![1], vec!["0.700000:1".to_owned()]));
}

#[test]
fn integers_and_what_is_no_number_have_an_order_too() {
    let counts = [3_i64, -5, i64::MAX]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let counts = Tensor::fixed(DType::I64, vec![3], counts).expect("fits");
    let (shape, words) = top(&counts, false, 3, &[]);
    assert_eq!(shape, [3]);
    assert_eq!(words, ["9223372036854775807:2", "3:0", "-5:1"]);
    let odd = [f32::NAN, f32::NEG_INFINITY, 1.0, f32::INFINITY];
    let odd = Tensor::from_f32(vec![1, 4], &odd).expect("fits");
    let (_, words) = top(&odd, true, 4, &[]);
    assert_eq!(words, ["inf:3", "1.000000:2", "-inf:1", "NaN:0"]);
}

#[test]
fn strings_are_refused_and_nothing_has_no_classes() {
    let words = Strings::from_parts(["a"]).expect("text");
    let words = Tensor::strings(vec![1], words).expect("fits");
    assert!(top_classes(&words, true, 1, &[]).is_err());
    let none = Tensor::from_f32(vec![0, 3], &[]).expect("fits");
    assert_eq!(top(&none, true, 2, &[]), (vec![0, 0], Vec::new()));
}
