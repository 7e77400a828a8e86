//! Tests of `connection`.

use super::*;

/// Checks at 5 s, 10 s, … with an idle timeout of 20 s and a header timeout of 10
/// s.
fn check(sights: &[(bool, u32, u32)], is_h2: bool, expected: &[IdleVerdict]) {
    let start = Instant::now();
    let (idle_timeout, header_timeout) = (Duration::from_secs(20), Duration::from_secs(10));
    let period = header_timeout / 2;
    let mut clocks = Clocks {
        period,
        idle_timeout,
        header_timeout,
        begun: 0,
        reads: 0,
        quiet_since: start,
        head_since: None,
    };

    let at = |i: usize| start + period * (u32::try_from(i).expect("few") + 1);
    let seen: Vec<IdleVerdict> = sights
        .iter()
        .enumerate()
        .map(|(i, (active, begun, reads))| {
            clocks.check_idle(
                &Sight {
                    active: *active,
                    begun: *begun,
                    reads: *reads,
                    is_h2,
                },
                at(i),
            )
        })
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn an_idle_connection_is_closed_gracefully() {
    use IdleVerdict::{Leave, Stay};
    check(&[(false, 0, 0); 4], false, &[Stay, Stay, Stay, Leave]);
    check(
        &[
            (false, 1, 1),
            (false, 1, 1),
            (false, 1, 1),
            (false, 1, 1),
            (false, 1, 1),
        ],
        false,
        &[Stay, Stay, Stay, Stay, Leave],
    );

    check(
        &[(true, 1, 1); 6],
        false,
        &[Stay, Stay, Stay, Stay, Stay, Stay],
    );
}

#[test]
fn slow_headers_close_an_http_1_connection_and_not_an_http_2_one() {
    use IdleVerdict::{Cut, Leave, Stay};
    check(
        &[(false, 0, 1), (false, 0, 2), (false, 0, 3)],
        false,
        &[Stay, Stay, Cut],
    );

    check(
        &[(false, 1, 1), (false, 1, 2), (false, 1, 3), (false, 1, 4)],
        false,
        &[Stay, Stay, Stay, Cut],
    );

    check(
        &[(false, 0, 1), (false, 0, 2), (false, 0, 3), (false, 0, 4)],
        true,
        &[Stay, Stay, Stay, Leave],
    );
}
