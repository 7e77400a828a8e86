//! Tests of `error`.

use super::*;

#[test]
fn a_message_is_one_line_without_control_characters_of_at_most_1_kib() {
    let error = Error::invalid(format!("a\nb\u{1b}[31m{}", "ü".repeat(2000)));
    assert!(error.message.len() <= MESSAGE_BYTES_MAX);
    assert!(error.message.starts_with("a b [31m"));
    assert!(error.message.ends_with('…'));
    assert_eq!(Error::invalid("x".repeat(1024)).message.len(), 1024);
}

#[test]
fn display_does_not_repeat_the_source() {
    let error = Error::internal("load m:1")
        .with_source("disk on fire")
        .context("start");
    assert_eq!(error.to_string(), "start: load m:1");
    assert_eq!(
        std::error::Error::source(&error).map(ToString::to_string),
        Some("disk on fire".into())
    );
}
