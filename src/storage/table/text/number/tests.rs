//! Tests of `number`.

use super::*;
use fastrand::Rng;

#[test]
fn plain_numbers_round_as_the_standard_library_does() {
    let mut random = Rng::with_seed(3);
    for _ in 0..50_000 {
        let whole: String = (0..random.usize(1..12)).map(|_| random.digit(10)).collect();
        let rest: String = (0..random.usize(..14)).map(|_| random.digit(10)).collect();
        let text = match random.u8(..4) {
            0 => format!("-{whole}.{rest}"),
            1 => format!("{whole}.{rest}e-{}", random.u8(..40)),
            2 => format!(".{rest}1"),
            _ => format!("{whole}.{rest}"),
        };
        let found = plain(text.as_bytes()).map(|found| found.value.number());
        assert_eq!(found, text.parse().ok(), "{text}");
    }
}

#[test]
fn what_is_no_number_is_none() {
    for text in [
        "", "-", ".", "+.", "e5", "1e", "1e+", "1.2.3", "--1", "1-", "0x1", "1_000", "1 2",
    ] {
        assert!(plain(text.as_bytes()).is_none(), "{text}");
    }
    let fits = |text: &str| signed(text).map_or(0, |found| found.fits(u8::MAX).0);
    for text in [
        "1,23,456.7",
        "1,2345.6",
        ",,5",
        "1,234,",
        "$",
        "%",
        "$5%x",
        "5 USDX",
        "1.234,567.8",
    ] {
        assert_eq!(fits(text), 0, "{text}");
    }
    assert_eq!(fits("0,123"), DECIMAL_COMMA & !POINT | POINT);
    assert_eq!(fits("1,234"), DECIMAL_COMMA | COMMA);
    assert_eq!(fits("1,234,567"), COMMA);
}
