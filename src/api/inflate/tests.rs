//! Tests of `inflate`.

use super::*;
use crate::core::error::Kind;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::HeaderValue;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn headers(codings: &[&'static str]) -> HeaderMap {
    let name = header::CONTENT_ENCODING;
    let lines = codings.iter();
    lines
        .map(|coding| (name.clone(), HeaderValue::from_static(coding)))
        .collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

const MAX: usize = 1 << 20;

fn limits<'c>(charge: &'c ChargeBytes<'c>) -> InflateLimits<'c> {
    InflateLimits {
        max: MAX,
        until: Instant::now() + Duration::from_secs(3_600),
        charge,
    }
}

async fn read(codings: &[&'static str], body: Vec<u8>) -> Result<Bytes> {
    decoded(&headers(codings), body.into(), limits(&|_| Ok(()))).await
}

/// Checks the kind of a refusal, and that its message has `part`.
async fn refused(coding: &'static str, body: Vec<u8>, kind: Kind, part: &str) {
    let error = read(&[coding], body).await.expect_err(part);
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.contains(part), "{error}");
}

#[tokio::test]
async fn content_of_any_ratio_is_read_up_to_the_limit() {
    for size in [0, 1, MAX - 1, MAX] {
        let content = vec![0; size];
        for (coding, body) in [
            ("gzip", gzip(&content)),
            ("X-GZIP", gzip(&content)),
            ("deflate", deflate(&content)),
        ] {
            let read = read(&[coding], body).await.expect(coding);
            assert_eq!(read.len(), size, "{coding}");
        }
    }

    let large = vec![0; MAX + 1];
    let part = "beyond the limit of 1048576 bytes";
    refused("gzip", gzip(&large), Kind::TooLarge, part).await;
    refused("deflate", deflate(&large), Kind::TooLarge, part).await;
}

#[tokio::test]
async fn every_member_is_read_and_the_limit_is_of_all_together() {
    let half = vec![b'a'; MAX / 2];
    let two = [gzip(&half), gzip(b""), gzip(&half)].concat();
    assert_eq!(read(&["gzip"], two.clone()).await.expect("read").len(), MAX);

    let three = [two, gzip(b"b")].concat();
    refused("gzip", three, Kind::TooLarge, "beyond the limit").await;

    let empty = gzip(b"").repeat(10_000);
    assert!(read(&["gzip"], empty).await.expect("read").is_empty());
}

#[tokio::test]
async fn what_is_not_whole_or_has_more_behind_it_is_refused() {
    let invalid = Kind::InvalidArgument;
    let part = "3 bytes follow the last gzip member";
    refused(
        "gzip",
        [gzip(b"{}"), b"abc".to_vec()].concat(),
        invalid,
        part,
    )
    .await;
    let part = "2 bytes follow the deflate stream";
    refused(
        "deflate",
        [deflate(b"{}"), vec![0; 2]].concat(),
        invalid,
        part,
    )
    .await;

    let part = "does not match its content-encoding";
    let mut short = [gzip(b"{}"), gzip(b"{}")].concat();
    short.pop();
    refused("gzip", short, invalid, part).await;
    refused("gzip", b"{}".to_vec(), invalid, part).await;
    refused("gzip", Vec::new(), invalid, part).await;
}

#[tokio::test]
async fn encodings_are_read_as_lists_and_unknown_ones_are_refused() {
    let plain = read(&["identity", " , Identity"], b"{}".to_vec()).await;
    assert_eq!(plain.expect("read"), "{}");
    let zipped = read(&["identity, gzip"], gzip(b"{}")).await;
    assert_eq!(zipped.expect("read"), "{}");

    let kind = Kind::UnsupportedEncoding;
    for coding in ["br", "zstd", "compress", "gzip, br", "gzip, gzip", "*"] {
        refused(coding, gzip(b"{}"), kind, "send one of gzip, deflate").await;
    }
    let error = read(&["gzip", "gzip"], gzip(b"{}")).await;
    assert_eq!(error.expect_err("two lines").kind, kind);
}

#[tokio::test]
async fn bytes_are_charged_while_they_come_and_a_full_budget_ends_the_work() {
    let charged = AtomicUsize::new(0);
    let charge = |bytes: usize| match charged.fetch_add(bytes, Ordering::Relaxed) {
        before if before > MAX / 4 => Err(Error::overloaded("full")),
        _ => Ok(()),
    };

    let body = gzip(&vec![0; MAX]);
    let answer = decoded(&headers(&["gzip"]), body.into(), limits(&charge)).await;
    assert_eq!(answer.expect_err("full").kind, Kind::ResourceExhausted);
    assert!(charged.load(Ordering::Relaxed) < MAX / 2);
}

#[tokio::test]
async fn decompression_ends_at_the_deadline() {
    let passed = || InflateLimits {
        until: Instant::now(),
        ..limits(&|_| Ok(()))
    };
    let body = gzip(&vec![0; MAX]);
    let answer = decoded(&headers(&["gzip"]), body.into(), passed()).await;
    assert_eq!(
        answer.map_err(|error| error.kind),
        Err(Kind::DeadlineExceeded)
    );
    // Millions of empty members take as long.
    let members = gzip(&[]).repeat(20_000);
    let answer = decoded(&headers(&["gzip"]), members.into(), passed()).await;
    assert_eq!(
        answer.map_err(|error| error.kind),
        Err(Kind::DeadlineExceeded)
    );
}

#[tokio::test]
async fn compressed_bytes_that_become_nothing_are_read_in_steps() {
    // Blocks that hold nothing but their end, with the last bit of the body set in the last one.
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let empty = [0, 0, 0, 0xff, 0xff];
    let last = [1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    let body = [&header[..], &empty.repeat(200_000), &last].concat();
    let read = read(&["gzip"], body.clone()).await.expect("complete");
    assert!(read.is_empty());

    let late = InflateLimits {
        until: Instant::now(),
        ..limits(&|_| Ok(()))
    };
    let answer = decoded(&headers(&["gzip"]), body.into(), late).await;
    assert_eq!(
        answer.map_err(|error| error.kind),
        Err(Kind::DeadlineExceeded)
    );
}

#[tokio::test]
async fn members_are_found_wherever_a_step_ends() {
    // Random bytes hardly become shorter, so a member is about as long as its content.
    let mut random = crate::core::hash::SplitMix(3);
    for length in [
        STEP_INPUT - 40,
        STEP_INPUT - 18,
        STEP_INPUT - 5,
        STEP_INPUT + 3,
        3 * STEP_INPUT,
    ] {
        let content: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
        let body = gzip(&content).repeat(5);
        let read = read(&["gzip"], body).await.expect("complete");
        assert!(read == content.repeat(5), "{length}");
    }
}
