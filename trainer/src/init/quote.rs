//! Names and texts as TOML and SQL write them.

/// Returns text as TOML writes it, in one line.
pub(super) fn quoted(text: &str) -> String {
    let value = toml::Value::String(text.to_owned()).to_string();
    match value.contains('\n') {
        // TOML's text of several lines; JSON's text is TOML's too, and in one line.
        true => serde_json::Value::String(text.to_owned()).to_string(),
        false => value,
    }
}

/// Returns a name as SQL writes it.
pub(super) fn sql_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
