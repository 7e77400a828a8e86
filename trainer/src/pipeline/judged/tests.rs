//! Tests of when a version is held for a person.

use super::*;

fn difference(is_suspect: bool, text: &str) -> RowsDifference {
    RowsDifference {
        is_suspect,
        text: text.to_owned(),
    }
}

#[test]
fn rows_that_look_faulty_hold_a_version_that_would_get_traffic() {
    let plain = difference(false, "age has other values");
    let suspect = difference(true, "income is 1,000 times what it was");
    let mut spec = Spec::default();
    for (policy, gets_traffic) in [
        (Policy::Champion, true),
        (Policy::Canary, true),
        (Policy::Challenger, false),
        (Policy::Manual, false),
    ] {
        spec.publish.policy = policy;
        spec.publish.suspect_rows = SuspectRows::Hold;
        let both = [plain.clone(), suspect.clone()];
        let why = held(&spec, &both);
        assert_eq!(why.is_some(), gets_traffic, "{policy:?}");
        let names = |why: &String| why.contains("as income is 1,000 times what it was; ");
        assert!(why.iter().all(names), "{why:?}");
        assert_eq!(held(&spec, std::slice::from_ref(&plain)), None);

        spec.publish.suspect_rows = SuspectRows::Accept;
        assert_eq!(held(&spec, &both), None);
    }
}
