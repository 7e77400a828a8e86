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
        pieces: 0,
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
                    unsent: false,
                    pieces: 0,
                    begun: *begun,
                    reads: *reads,
                    blocked: false,
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

#[test]
fn a_silent_client_of_http_2_is_one_that_waits_for_nothing() {
    let sight = |active, reads, blocked, is_h2| Sight {
        active,
        unsent: false,
        pieces: 1,
        begun: 1,
        reads,
        blocked,
        is_h2,
    };
    let asked = sight(false, 7, false, true);
    for (now, is_silent) in [
        (sight(false, 7, false, true), true),
        (sight(false, 8, false, true), false),
        (sight(true, 7, false, true), false),
        (sight(false, 7, true, true), false),
        (sight(false, 7, false, false), false),
        (
            Sight {
                unsent: true,
                ..sight(false, 7, false, true)
            },
            false,
        ),
    ] {
        assert_eq!(now.is_silent_since(&asked), is_silent);
    }
}

#[test]
fn a_client_that_takes_an_answer_slowly_is_not_idle() {
    let start = Instant::now();
    let limits = Limits {
        idle_timeout: Duration::from_secs(20),
        header_timeout: Duration::from_secs(10),
        ..Limits::default()
    };
    let mut clocks = Clocks::start(&limits, start);
    let mut look = |second: u64, pieces| {
        let sight = Sight {
            active: false,
            unsent: true,
            pieces,
            begun: 1,
            reads: 1,
            blocked: true,
            is_h2: false,
        };
        clocks.check_idle(&sight, start + Duration::from_secs(second))
    };
    for second in 0..100 {
        let pieces = u32::try_from(second / 10).expect("few");
        assert_eq!(look(second, pieces), IdleVerdict::Stay, "{second} s");
    }
    // It took the last piece 20 s ago.
    assert_eq!(look(110, 9), IdleVerdict::Leave);
}
