//! Tests of `route`.

use super::*;

#[test]
fn a_split_follows_the_weights_and_a_key_always_gets_the_same_version() {
    let version = |n| Version::new(n).expect("legal");
    let parts = [(version(1), 70), (version(2), 25), (version(3), 5)];
    let mut counts = [0_i32; 3];
    for i in 0..20_000_u64 {
        let target = Target::parse("m", "")
            .expect("legal")
            .routed_by(&i.to_le_bytes());
        let key = target.key.expect("a key");
        let picked = pick(&parts, key);
        assert_eq!(picked, pick(&parts, key));
        counts[picked.number() as usize - 1] += 1;
    }

    for (count, percent) in counts.into_iter().zip([70, 25, 5]) {
        let expected = percent * 200;
        assert!((count - expected).abs() < 300, "{counts:?}");
    }
    let by_chance = (0..20_000)
        .filter(|_| pick(&parts, random()) == version(2))
        .count();
    assert!((4_700..5_300).contains(&by_chance), "{by_chance}");
}

#[test]
fn splits_of_two_models_are_independent() {
    let key = |model: &str| {
        Target::parse(model, "")
            .expect("legal")
            .routed_by(b"user 7")
            .key
    };

    assert_ne!(key("a"), key("b"));
    assert_eq!(
        Target::parse("a", "").expect("legal").routed_by(b"").key,
        None
    );
}
