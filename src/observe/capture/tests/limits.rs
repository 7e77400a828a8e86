//! Tests of limits: of memory, of files and of the store.

use super::*;
use crate::testing::with_records;

#[test]
fn a_stalled_store_drops_samples_and_no_request_waits() {
    let subject = subject(
        vec![spec("x", DType::F32, &[-1, 100])],
        vec![spec("y", DType::F32, &[-1])],
    );
    let x = Tensor::from_f32(vec![10, 100], &[1.0; 1_000]).expect("fits");
    let y = Tensor::from_f32(vec![10], &[1.0; 10]).expect("fits");
    let written = Written::default();
    let stall = Arc::clone(&written.stall);
    let stalled = stall.lock();
    let (capture, metrics) = start(
        CaptureSettings {
            rows_max: 100,
            queue_bytes_max: 1 << 20,
            ..settings()
        },
        &written,
    );

    // A request that waited for the store would wait for ever: it stalls until they all returned.
    for _ in 0..2_000 {
        show(
            &capture,
            &subject,
            std::slice::from_ref(&x),
            std::slice::from_ref(&y),
        );
    }

    assert!(capture.lock().shared.bytes.load(Ordering::Relaxed) <= 1 << 20);
    assert!(text(&metrics).contains("ortus_capture_dropped_total{reason=\"full\"}"));

    drop(stalled);
    capture.lock().finish();
    let rows: usize = read(&written).iter().map(|f| f.table.rows).sum();
    assert!(
        (1_000..4_000).contains(&rows),
        "{rows} of 20,000 rows were kept"
    );
}

#[test]
fn full_files_are_closed_and_too_large_requests_are_dropped() {
    let subject = subject(
        vec![spec("x", DType::String, &[-1])],
        vec![spec("y", DType::F32, &[-1])],
    );
    let word = |n: usize| words(&[1], [&"x".repeat(n)]);
    let y = Tensor::from_f32(vec![1], &[1.0]).expect("fits");
    let written = Written::default();
    let (capture, metrics) = start(
        CaptureSettings {
            rows_max: 10,
            ..settings()
        },
        &written,
    );

    show(
        &capture,
        &subject,
        &[word(100 << 20)],
        std::slice::from_ref(&y),
    );

    for _ in 0..25 {
        show(&capture, &subject, &[word(10)], std::slice::from_ref(&y));
    }
    capture.lock().finish();
    let rows: Vec<usize> = read(&written).iter().map(|f| f.table.rows).collect();
    assert_eq!(rows, [10, 10, 5]);
    let text = text(&metrics);
    assert!(text.contains("ortus_capture_dropped_total{reason=\"too_large\"} 1"));
    assert!(
        text.contains("ortus_capture_rows_total{model=\"m\"} 25"),
        "{text}"
    );
}

#[test]
fn files_past_their_retention_and_the_oldest_beyond_the_size_limit_are_deleted() {
    with_records(async |records| {
        let now = chrono::Utc::now();
        let hour = u64::try_from(now.timestamp() / 3600).expect("after 1970");
        for ago in [0, 1, 2, 50] {
            let key = format!("{}a.parquet", file::folder("m", Some((1, hour - ago))));
            records
                .create(&key, Bytes::from(vec![0; 100]))
                .await
                .expect("written");
        }
        records
            .create("capture/else", Bytes::new())
            .await
            .expect("written");
        let retention = |hours: u64, store_bytes_max| CaptureSettings {
            retention: Duration::from_secs(hours * 3600),
            store_bytes_max,
            ..settings()
        };
        let swept = sweep::sweep(&records, &retention(48, 1_000), now)
            .await
            .expect("swept");
        assert_eq!(
            swept,
            sweep::SweptCaptures {
                removed: 1,
                kept: 3,
                kept_bytes: 300
            }
        );
        let swept = sweep::sweep(&records, &retention(48, 250), now)
            .await
            .expect("swept");
        assert_eq!((swept.removed, swept.kept_bytes), (1, 200));
        assert!(
            records
                .get("capture/else", 10)
                .await
                .expect("reads")
                .is_some(),
            "other files stay"
        );
    });
}
