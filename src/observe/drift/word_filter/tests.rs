//! Tests of `word_filter`.

use super::*;

#[test]
fn known_words_pass_and_about_one_unknown_word_in_a_hundred() {
    let words: Vec<String> = (0..20_000).map(|i| format!("customer-{i}")).collect();
    let filter = WordFilter::new(words.iter().map(String::as_str));
    assert!(words.iter().all(|word| filter.may_have(word)));
    let passed = (0..20_000)
        .filter(|i| filter.may_have(&format!("other-{i}")))
        .count();
    assert!((50..500).contains(&passed), "{passed} of 20,000 pass");
}

#[test]
fn a_filter_is_bounded_and_reads_back() {
    let words: Vec<String> = (0..200_000).map(|i| i.to_string()).collect();
    let filter = WordFilter::new(words.iter().map(String::as_str));
    assert_eq!(filter.0.len(), FILTER_BYTES_MAX);
    assert_eq!(WordFilter::of_text(&filter.text()), Some(filter));
    for bad in ["", "?", "AAA"] {
        assert_eq!(WordFilter::of_text(bad), None, "{bad}");
    }
    let none = WordFilter::new(std::iter::empty());
    assert!(!none.may_have("a"), "nothing is known");
}
