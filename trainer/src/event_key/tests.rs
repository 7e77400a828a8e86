//! Tests of `event_key`.

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[test]
fn every_key_is_read_back_as_it_was_written() {
    let digest = Digest::of(b"a");
    let precise = at("2026-03-01T03:00:00.123456789Z");
    let keys = [
        (EventKey::Request("1f".to_owned()), "ask-1f"),
        (EventKey::cron(precise), "cron-20260301T030000Z"),
        (
            EventKey::alarm(precise, &digest),
            "alarm-20260301T030000Z-ca978112ca1bbdca",
        ),
        (EventKey::spec(&digest), "spec-ca978112ca1bbdca"),
        (
            EventKey::rows_after(precise),
            "rows-after-20260301T030000123456Z",
        ),
        (EventKey::RowsOver(1_000), "rows-over-1000"),
        (
            EventKey::waits(Some(&EventKey::RowsOver(7))),
            "waits-rows-over-7",
        ),
        (EventKey::waits(None), "waits-none"),
    ];

    for (key, text) in keys {
        assert_eq!(key.to_string(), text);
        assert_eq!(EventKey::parse(text), key);
        assert_eq!(serde_json::json!(key), serde_json::json!(text));
    }
}

#[test]
fn a_text_that_is_not_a_key_stays_as_it_is() {
    for text in [
        "",
        "moon-full",
        "cron-",
        "cron-today",
        "rows-over-007",
        "rows-over--1",
        "alarm-20260301T030000Z",
    ] {
        let key = EventKey::parse(text);
        assert_eq!(
            (&key, key.to_string().as_str()),
            (&EventKey::Other(text.to_owned()), text)
        );
    }
}
