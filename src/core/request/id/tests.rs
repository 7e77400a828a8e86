//! Tests of `id`.

use super::*;
use std::collections::HashSet;

#[test]
fn prediction_ids_are_unique_uuids_of_version_7_with_their_time() {
    let mint = Mint::new();
    let before = SystemTime::now() - Duration::from_millis(1);
    let ids: Vec<Uuid> = (0..10_000).map(|_| mint.mint()).collect();
    assert!(
        ids.iter()
            .all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122)
    );
    assert!(
        ids.iter()
            .all(|id| minted_at(*id).is_some_and(|t| t >= before && t <= SystemTime::now()))
    );
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    assert_eq!(minted_at(Uuid::new_v4()), None);
}

#[test]
fn an_id_signed_by_another_fleet_is_refused() {
    let (mint, sister, stranger) = (Mint::new(), Mint::new(), Mint::new());
    sister.adopt([7; 16]);
    mint.adopt([7; 16]);
    let ids: Vec<Uuid> = (0..1_000).map(|_| mint.mint()).collect();
    assert!(
        ids.iter()
            .all(|id| mint.is_of_fleet(*id) && sister.is_of_fleet(*id))
    );
    assert!(!ids.iter().any(|id| stranger.is_of_fleet(*id)));
    assert!(
        (0..1_000).all(|_| !mint.is_of_fleet(Uuid::now_v7()) && !mint.is_of_fleet(Uuid::new_v4()))
    );
    // A change of any bit makes it invalid.
    for bit in 0..128 {
        let other = Uuid::from_u128(ids[0].as_u128() ^ 1 << bit);
        assert!(!mint.is_of_fleet(other), "bit {bit}");
    }
}
