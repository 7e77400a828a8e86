//! Tests of `trace`.

use super::*;

#[test]
fn traceparent_is_read_as_w3c_trace_context_specifies() {
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let context = Context::parse(good).expect("sound");
    assert_eq!(
        (context.parent, context.sampled),
        (0x00f0_67aa_0ba9_02b7, true)
    );
    assert_eq!(context.header(context.parent), good);
    assert!(Context::parse(&good.replace("-01", "-00")).is_some_and(|c| !c.sampled));
    assert!(Context::parse(&good.replacen("00", "01", 1).replace("-01", "-01-more")).is_some());
    for bad in [
        "",
        "00",
        &good.replacen("00", "ff", 1),
        &format!("{good}-more"),
        &good.to_uppercase(),
        &good.replace(
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "00000000000000000000000000000000",
        ),
        &good.replace("00f067aa0ba902b7", "0000000000000000"),
        &good.replace("4bf9", "4bf"),
    ] {
        assert_eq!(Context::parse(bad), None, "{bad}");
    }
}
