//! Which texts are numbers of a type, and that each is rounded as the standard library rounds it.

use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::fmt::Debug;

/// What the text is by JSON's grammar and the standard library: the bits of the number, if any. The words
/// for floats that JSON has no number for are what the standard library makes of them.
fn expected<T: Number>(text: &str, is_valid: impl Fn(&T) -> bool) -> Option<Vec<u8>> {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        let value: Option<T> = text.parse().ok();
        return value.map(|value| value.to_wire().as_ref().to_vec());
    }
    let grammar = serde_json::from_str::<&RawValue>(text).ok()?;
    let is_number =
        grammar.get() == text && text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let value = text
        .parse()
        .ok()
        .filter(|value| is_number && is_valid(value));
    value.map(|value: T| value.to_wire().as_ref().to_vec())
}

/// Reads the text alone and with something behind it, from its middle on too.
fn agrees<T: Number + Debug>(text: &str, is_valid: impl Fn(&T) -> bool) {
    let expected = expected(text, is_valid);
    for (before, after) in [("", ""), ("", ","), ("[", ",12345678,9"), (" ", "]}")] {
        let whole = format!("{before}{text}{after}");
        let read = T::read(&whole, before.len());
        let read = read.filter(|(_, end)| *end == before.len() + text.len());
        let bits = read.map(|(value, _)| value.to_wire().as_ref().to_vec());
        assert_eq!(bits, expected, "{text} as {}", std::any::type_name::<T>());
    }
}

fn check(text: &str) {
    agrees::<f32>(text, |v| v.is_finite());
    agrees::<f64>(text, |v| v.is_finite());
    agrees::<u8>(text, |_| true);
    agrees::<u16>(text, |_| true);
    agrees::<u32>(text, |_| true);
    agrees::<u64>(text, |_| true);
    agrees::<i8>(text, |_| true);
    agrees::<i16>(text, |_| true);
    agrees::<i32>(text, |_| true);
    agrees::<i64>(text, |_| true);
}

/// Numbers and what is almost a number: limits of every type; decimals whose quotient in FP64 is on
/// the wrong side of the middle between two FP32; grammar.
const TEXTS: &str = "0 -0 0.0 -0.0 1 -1 255 256 -128 -129 12345678 123456789 0.1 8.5 16777217
    999999999999999999 9223372036854775807 9223372036854775808 -9223372036854775808
    -9223372036854775809 18446744073709551615 18446744073709551616 36893488147419103232
    9007199254740993 9007199254740992.5 123456789012345678901234567890 0.00012345678901234567
    340282356779733661637539395458142568448 340282356779733661637539395458142568447
    3.4028235e38 3.4028236e38 1.401298464324817e-45 4.9e-324 2.4e-324 1.7976931348623158e308
    1e400 1e39 1e-400 1e99999999999999999999 0e999999 1E5 1e-5 1e05 1e00000000000000000005 0.5e0
    0.30000000000000004 0.00000000000000000000000000000000000000000001
    15807.8051757812500 1.83338409662246704 3.7266157865524292 0.020002995617687702
    246.4349746704101586 15.7702107429504400 3942.5008544921876 116693.8164062499970
    00 01 -01 +1 .5 1. - 1e 1e+ 1.e5 0x10 NaN Infinity -Infinity -NaN nan NaNs inf 1_000 1.2.3 --1 1-2 1: 1/ 1;";

#[test]
fn numbers_are_exactly_those_of_json() {
    TEXTS.split_whitespace().for_each(check);
    check("");
    check("1 2");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn texts_of_numbers_are_read_as_the_standard_library_reads_them(
        text in r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,21})?([eE][+-]?[0-9]{1,3})?",
    ) {
        check(&text);
    }

    #[test]
    fn texts_that_are_almost_numbers_are_refused_alike(text in r"[-+.eE0-9]{0,12}") {
        check(&text);
    }

    #[test]
    fn what_python_writes_is_read_exactly(bits in any::<u64>(), single in any::<u32>()) {
        check(&format!("{}", f64::from_bits(bits)));
        check(&format!("{:e}", f64::from_bits(bits)));
        check(&format!("{}", f64::from(f32::from_bits(single))));
        check(&format!("{}", (bits >> 11) as f64 / (1_u64 << 53) as f64));
    }

    /// Here a value rounded to FP64 first would be rounded to the wrong FP32.
    #[test]
    fn numbers_next_to_the_middle_of_two_fp32_are_rounded_once(
        fraction in 0_u64..1 << 23,
        exponent in 1023_u64 - 40..1023 + 60,
        steps in -6_i64..=6,
        places in 14_usize..=20,
    ) {
        let middle = exponent << 52 | fraction << 29 | 1 << 28;
        let near = f64::from_bits(middle.wrapping_add_signed(steps));
        check(&format!("{near:.places$}"));
        check(&format!("{near:.places$e}"));
        check(&format!("{near:.3e}"));
    }
}
