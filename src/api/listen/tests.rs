//! Tests of `listen`.

use super::*;

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
        threads: vec![thread.expect("starts")],
        ended,
    };

    assert_eq!(listening.join(Instant::now()), ["io 0"]);
    drop(release);
}
