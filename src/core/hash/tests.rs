//! Tests of `hash`.

use super::*;

#[test]
fn digests_are_sha256_and_read_back() {
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Digest::of(b"").to_string(), empty);
    assert_eq!(Digest::parse(empty).expect("read"), Digest::of(b""));

    let mut hasher = Hasher::default();
    hasher.update(b"ab");
    hasher.update(b"c");
    assert_eq!(hasher.finish(), Digest::of(b"abc"));

    for bad in [
        "",
        "sha256:",
        &empty[1..],
        &empty.to_uppercase(),
        &format!("{empty}0"),
    ] {
        assert!(Digest::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn splitmix_gives_the_published_numbers() {
    // The first numbers of the reference implementation for the seed 1234567.
    let mut random = SplitMix(1_234_567);
    assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
    assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    assert!((0.0..1.0).contains(&random.unit()));
}
