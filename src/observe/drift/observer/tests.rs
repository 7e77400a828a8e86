//! Tests of `observer`.

use super::*;

#[test]
fn a_prediction_is_sampled_on_every_server_or_on_none_and_uniformly() {
    let ids: Vec<Uuid> = (0..10_000).map(|_| Uuid::now_v7()).collect();
    assert!(ids.iter().all(|id| number(*id) == number(*id)));
    let sampled = ids
        .iter()
        .filter(|id| number(**id) <= u64::MAX / 10)
        .count();
    assert!(
        (800..1_200).contains(&sampled),
        "{sampled} of a tenth of 10,000"
    );
}
