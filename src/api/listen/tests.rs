//! Tests of `listen`.

use super::*;
use std::net::Ipv4Addr;

#[test]
fn the_stop_names_a_hung_thread_and_does_not_wait_for_it() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (end, ended) = std::sync::mpsc::channel();
    let report = EndReport(end);
    let thread = std::thread::Builder::new()
        .name("io 0".to_owned())
        .spawn(move || {
            let _report = report;
            let _ = held.recv();
        });
    let listening = Listening {
        http: (Ipv4Addr::LOCALHOST, 0).into(),
        grpc: (Ipv4Addr::LOCALHOST, 0).into(),
        threads: vec![thread.expect("starts")],
        ended,
    };

    assert_eq!(listening.join(Instant::now()), ["io 0"]);
    drop(release);
}
