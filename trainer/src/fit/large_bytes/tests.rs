//! Tests of `large_bytes`.

use super::*;

#[test]
fn few_and_many_bytes_are_0_and_keep_what_is_written() {
    for count in [0, 1, LARGE - 1, LARGE, LARGE + 3] {
        let mut bytes = LargeBytes::zeros(count);
        assert_eq!(matches!(bytes, LargeBytes::Large(_)), count >= LARGE);
        assert!(bytes.len() == count && bytes.iter().all(|b| *b == 0));
        if let Some(last) = bytes.last_mut() {
            *last = 7;
            assert_eq!(bytes[count - 1], 7);
        }
    }
}
