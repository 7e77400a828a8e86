//! Requests run alone until merging is released, whatever their number of rows.

use super::*;

#[tokio::test]
async fn requests_run_alone_until_merging_is_released() {
    let (batcher, runs, token) = gated(options());
    batcher.hold_merging();
    // More rows than a batch may have: nothing is known of rows yet.
    let many = [1.0; 9];
    let first = batcher.ask(submission(&many, LONG));
    let rest = async {
        until_running(&runs, 1).await;
        tokio::join!(
            batcher.ask(submission(&[1.0], LONG)),
            batcher.ask(submission(&[2.0], LONG)),
            async {
                for _ in 0..3 {
                    token.send(()).expect("the lane listens");
                }
            }
        )
    };
    let (first, (one, two, ())) = tokio::join!(first, rest);
    assert!(first.is_ok() && one.is_ok() && two.is_ok());
    assert_eq!(*runs.lock(), [9, 1, 1]);

    batcher.release_merging();
    let first = batcher.ask(submission(&[0.0], LONG));
    let rest = async {
        until_running(&runs, 4).await;
        tokio::join!(
            batcher.ask(submission(&[1.0], LONG)),
            batcher.ask(submission(&[2.0], LONG)),
            async {
                for _ in 0..2 {
                    token.send(()).expect("the lane listens");
                }
            }
        )
    };
    let (first, (one, two, ())) = tokio::join!(first, rest);
    assert!(first.is_ok() && one.is_ok() && two.is_ok());
    assert_eq!(runs.lock()[3..], [1, 2]);
}

/// The nice value of the thread of a lane that has this name.
#[cfg(target_os = "linux")]
fn niceness_of_lane(name: &str) -> Option<i32> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    threads.filter_map(Result::ok).find_map(|thread| {
        let comm = std::fs::read_to_string(thread.path().join("comm")).ok()?;
        let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        // The 17th field after the name.
        let fields = stat.rsplit_once(')')?.1;
        let nice = fields.split_whitespace().nth(16)?.parse().ok()?;
        (comm.trim() == format!("lane {name}")).then_some(nice)
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn lanes_have_the_lower_priority_that_is_set() {
    for (name, niceness) in [("nice5", 5), ("nice0", 0)] {
        let options = BatchOptions {
            lane_niceness: niceness,
            ..options()
        };
        let session = FakeSession {
            script: Script::Echo,
            runs: Arc::default(),
        };
        let (mut parts, _ended) = parts(session, options);
        parts.name = name.to_owned();
        let batcher = Batcher::start(parts).expect("starts");
        batcher.ask(patient(1.0)).await.expect("served");
        assert_eq!(niceness_of_lane(name), Some(niceness.cast_signed()));
    }
}
