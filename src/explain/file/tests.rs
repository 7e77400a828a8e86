//! Tests of `file`: what is written is read, and nothing else is.

use super::super::derivation::{CalendarPart, Derivation, DerivedValue};
use super::super::model::tests::{linear, trees_of_three_classes};
use super::*;

fn models() -> [ExplainedModel; 2] {
    let mut trees = trees_of_three_classes();
    trees.features[4].derived = Some(Derivation {
        source: "time".to_owned(),
        how: DerivedValue::Part {
            part: CalendarPart::Hour,
            per_second: 1e3,
            zone: 7200.0,
        },
    });
    trees.features[4].input = "time".to_owned();
    [trees, linear()].map(|parts| ExplainedModel::new(parts).expect("a model"))
}

#[test]
fn a_model_that_is_written_is_read_back() {
    for model in models() {
        let bytes = write(&model).expect("written");
        assert_eq!(read(&bytes).expect("reads"), model);
        assert_eq!(write(&model).expect("written"), bytes, "the same bytes");
    }
}

#[test]
fn a_file_that_is_cut_or_goes_on_is_refused() {
    for model in models() {
        let whole = write(&model).expect("written");
        for end in 0..whole.len() {
            let error = read(&whole[..end]).expect_err("cut");
            assert!(error.message.starts_with("the explanation: "), "{error}");
        }
        let error = read(&[&whole[..], &[0]].concat()).expect_err("goes on");
        assert!(
            error.message.contains("for 1 bytes after its end"),
            "{error}"
        );
    }
}

#[test]
fn no_byte_that_is_changed_makes_a_panic() {
    for model in models() {
        let whole = write(&model).expect("written");
        for at in 0..whole.len() {
            for value in [0, 1, 3, 127, 255, b'9', b'-', b'"'] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                // It is another model, or none.
                if let Ok(read) = read(&bytes) {
                    assert!(read.base().iter().all(|base| !base.is_nan()));
                }
            }
        }
    }
}

#[test]
fn a_hostile_file_is_refused_before_room_is_made_for_it() {
    let head = |format: u32, scores: usize, trees: usize| {
        let text = format!(
            r#"{{"format":{format},"kind":"trees","scale":"value","scores":{scores},"trees":{trees},"classes":[],"features":[{{"name":"a","input":"a"}}]}}"#
        );
        format!("{text}\n").into_bytes()
    };
    let check = |bytes: Vec<u8>, why: &str| {
        let error = read(&bytes).expect_err(why);
        assert!(error.message.contains(why), "{error} has no '{why}'");
    };
    check(head(2, 1, 0), "use a newer ortus");
    check(head(1, usize::MAX, 0), "scores");
    check(head(1, 0, 0), "0 scores");
    check(head(1, 1, usize::MAX), "no room");
    check(b"{}".to_vec(), "no end of its first line");
    check(b"{}\n".to_vec(), "cannot be read");
    check(vec![b'x'; BYTES_MAX as usize + 1], "is over");

    // A path that never ends.
    let split = [&[NUMBER_MISSING_LEFT][..], &[0; 8]].concat();
    let start = [head(1, 1, 1), 0_f64.to_le_bytes().to_vec()].concat();
    check([start.clone(), split.repeat(70)].concat(), "deeper than 64");
    check([start.clone(), vec![9; 9]].concat(), "unknown kind 9");
    let leaf =
        |value: f32, rows: u32| [&[LEAF][..], &value.to_le_bytes(), &rows.to_le_bytes()].concat();
    check([start.clone(), leaf(f32::NAN, 1)].concat(), "not finite");
    check([start.clone(), leaf(0.0, 0)].concat(), "no training rows");
    let mut other = split.clone();
    other[1] = 1;
    let sides = [leaf(1.0, 1), leaf(2.0, 2)].concat();
    check(
        [start, other, sides].concat(),
        "splits by feature 1; there are 1",
    );
}
