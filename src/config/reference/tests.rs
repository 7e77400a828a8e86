//! Tests of `reference`.

use super::*;

#[test]
fn the_configuration_page_equals_the_generated_text() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(
        page == markdown(),
        "docs/configuration.md is stale; run `ortus config reference > docs/configuration.md`"
    );
}

#[test]
fn every_key_documents_its_meaning_and_accepted_values() {
    for section in sections() {
        assert!(!one_line(section.about).is_empty(), "{}", section.name);
        for key in section.keys {
            let path = format!("{}.{}", section.name, key.key);
            assert!(one_line(key.text).ends_with('.'), "{path}");
            assert!(!key.accepts.is_empty(), "{path}");
        }
    }
}

#[test]
fn a_key_is_explained_with_its_default_and_range() {
    let text = explain("limits.message_bytes_max").unwrap();
    assert!(text.contains("Default: \"64MiB\""), "{text}");
    assert!(text.contains("Range: \"1KiB\" to \"2GiB\""), "{text}");
}

#[test]
fn a_key_of_one_model_is_explained_by_the_key_of_all() {
    let text = explain("model.fraud.request_timeout").unwrap();
    assert!(
        text.starts_with("models.defaults.request_timeout\n"),
        "{text}"
    );
    assert!(text.contains("Range: \"1ms\" to \"1h\""), "{text}");
}

#[test]
fn a_section_is_explained_with_all_its_keys() {
    let model = explain("model").unwrap();
    assert!(model.starts_with("[models.defaults]\n"), "{model}");
    let text = explain("traces").unwrap();
    assert!(text.starts_with("[traces]\n"), "{text}");
    assert!(text.contains("traces.endpoint") && text.contains("traces.share"));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let fault = explain("server.htpp").unwrap_err();
    assert_eq!(
        fault.message,
        "unknown key 'server.htpp'; did you mean 'server.http'?"
    );
}
