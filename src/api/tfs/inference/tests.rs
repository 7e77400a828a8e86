//! Methods and signatures, and the scores of classes.

use super::*;

#[test]
fn methods_and_usual_signatures_are_known() {
    for inference in [Inference::Classify, Inference::Regress] {
        assert_eq!(
            Inference::of_method(inference.method()).ok(),
            Some(inference)
        );
        for name in ["", "serving_default", inference.signature()] {
            assert!(inference.check_signature(name).is_ok(), "{name}");
            let spec = p::ModelSpec {
                name: "m".to_owned(),
                signature_name: name.to_owned(),
                version_choice: None,
            };
            assert!(inference.target(Some(&spec)).is_ok(), "{name}");
        }
        assert!(inference.check_signature("predict_images").is_err());
    }
    assert!(Inference::of_method("tensorflow/serving/predict").is_err());
    assert!(
        Inference::Regress
            .check_signature("classification")
            .is_err()
    );
}

#[test]
fn one_score_stands_for_two_classes() {
    let task = |is_single| Classification {
        scores: 0,
        is_single,
        label: None,
        classes: vec!["no".to_owned(), "yes".to_owned()],
    };
    let pairs = |named: Vec<(String, f32)>| {
        let pairs: Vec<String> = named.iter().map(|(n, s)| format!("{n} {s}")).collect();
        pairs.join(", ")
    };
    assert_eq!(pairs(named(&task(true), &[0.75])), "no 0.25, yes 0.75");
    assert_eq!(pairs(named(&task(false), &[0.5, 0.5])), "no 0.5, yes 0.5");
}
