//! How many values one core counts in a second: against the contract, and in windows.

use ortus::testing::counting::Counting;

pub(crate) fn counting() {
    for (columns, rows) in [(32, 1), (32, 64), (256, 64)] {
        let mut counting = Counting::new(columns, rows);
        for (what, bar, rate) in [
            ("contract", 200e6, counting.contract()),
            ("windows", 20e6, counting.windows()),
        ] {
            println!(
                "{{\"what\":\"{what}\",\"columns\":{columns},\"rows\":{rows},\"values_per_second\":{rate:.3e},\"bar\":{bar:.0e}}}"
            );
        }
    }
}
