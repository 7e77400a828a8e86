//! Encoded requests: fresh values, checks in turn, and what an answer may be.

use super::*;

fn input(value: f64) -> Input {
    let sample = json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [value, 2.5]}]});
    let golden =
        json!({"outputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [value]}]});
    Input {
        sample,
        golden: Some(Golden::parse(golden.to_string().as_bytes()).unwrap()),
    }
}

fn set(protocol: Protocol, check_every: u64) -> RequestSet {
    let habits = Habits {
        is_fresh: true,
        check_every,
    };
    RequestSet::new(
        protocol,
        "m",
        vec![input(0.123_456), input(0.654_321)],
        habits,
    )
    .unwrap()
}

#[test]
fn fresh_requests_differ_and_keep_their_length() {
    for protocol in [Protocol::Grpc, Protocol::Binary, Protocol::Json] {
        let set = set(protocol, 4);
        let fresh = (0..).map(|n| set.shot(n)).filter(|shot| !shot.is_checked);
        let all: Vec<Bytes> = fresh.take(3).map(|shot| shot.bytes).collect();
        assert!(all[0] != all[1] && all[1] != all[2], "{protocol:?}");
        assert!(all.iter().all(|b| b.len() == all[0].len()), "{protocol:?}");
        let checked = (0..4000).filter(|n| set.shot(*n).is_checked).count();
        assert!(checked.abs_diff(1000) < 50, "{checked}");
        assert!(set.shot(0).is_checked);
    }
}

#[test]
fn fresh_values_are_numbers_of_the_request() {
    let n = (1..)
        .find(|n| !set(Protocol::Grpc, 4).shot(*n).is_checked)
        .unwrap();
    let request = set(Protocol::Grpc, 4).shot(n).bytes;
    let message =
        ortus::proto::inference::ModelInferRequest::decode(&request[GRPC_HEAD..]).unwrap();
    let raw = &message.raw_input_contents[0];
    let values: Vec<f32> = raw
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    assert!(
        (1.0..2.0).contains(&values[0]) && values[1] == 2.5,
        "{values:?}"
    );

    let request = set(Protocol::Json, 4).shot(n).bytes;
    let body: Value = serde_json::from_slice(body_of(Protocol::Json, &request)).unwrap();
    assert_eq!(body["inputs"][0]["data"], json!([n as f64 / 1e6, 2.5]));
}

#[test]
fn checked_requests_are_sent_as_they_are_over_all_inputs() {
    let set = set(Protocol::Json, 2);
    let checked = (0..100).map(|n| set.shot(n)).filter(|shot| shot.is_checked);
    let texts: Vec<String> = checked
        .map(|s| String::from_utf8(s.bytes.to_vec()).unwrap())
        .collect();
    let holding = |value: &str| texts.iter().filter(|t| t.contains(value)).count();
    assert!(holding("0.123456") > 9 && holding("0.654321") > 9);
    assert_eq!(holding("0.123456") + holding("0.654321"), texts.len());
}

#[test]
fn answer_to_another_input_is_wrong() {
    let set = set(Protocol::Json, 1);
    let answer = |v: f64| {
        let text =
            json!({"outputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [v]}]});
        Bytes::from(text.to_string())
    };
    let shot_of = |variant| {
        (0..)
            .map(|n| set.shot(n))
            .find(|s| s.variant == variant)
            .unwrap()
    };
    let (first, second) = (shot_of(0), shot_of(1));
    let right = [0.123_456, 0.654_321];
    for shot in [first, second] {
        // Once in full, once from memory.
        for _ in 0..2 {
            assert_eq!(set.check(&shot, &answer(right[shot.variant])), Ok(()));
        }
        assert!(set.check(&shot, &answer(right[1 - shot.variant])).is_err());
    }
}

#[test]
fn echo_is_the_body_of_the_request() {
    let set = set(Protocol::Binary, 1).echoed();
    let shot = set.shot(3);
    let body = Bytes::copy_from_slice(body_of(Protocol::Binary, &shot.bytes));
    assert_eq!(set.check(&shot, &body), Ok(()));
    assert!(set.check(&shot, &body.slice(1..)).is_err());
}

#[test]
fn whole_numbers_have_no_place_for_a_fresh_value() {
    assert_eq!(fraction(br#"{"data":[1,2]}"#), None);
    assert_eq!(fraction(br#"{"data":[[0.25,2]]}"#), None);
    assert_eq!(fraction(br#"{"data":[[-0.12345,2]]}"#), Some(13..18));
}
