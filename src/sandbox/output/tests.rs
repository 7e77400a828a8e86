//! Tests of `output`.

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn head_keeps_the_first_bytes_and_tail_the_last() {
    let text: Vec<u8> = (0..=255).cycle().take(10_000).collect();

    let head = OutputStream::head(std::io::Cursor::new(text.clone()), 3);
    let head = head.finish(soon()).expect("a cursor ends");
    assert_eq!((head.bytes.as_slice(), head.total_bytes), (&text[..3], 3));

    let tail = OutputStream::tail(std::io::Cursor::new(text.clone()), 3);
    let tail = tail.finish(soon()).expect("a cursor ends");
    assert_eq!(tail.bytes, &text[text.len() - 3..]);
    assert_eq!(tail.total_bytes, text.len());
}

#[test]
fn a_stream_that_stays_open_is_given_up() {
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    assert!(
        OutputStream::tail(reader, 3)
            .finish(Instant::now())
            .is_none()
    );
}
