//! ONNX Runtime's own words about a model, fit for a client: whole, but without the places
//! in its source, the folders of this machine, and addresses in memory.

#[cfg(test)]
mod tests;

use std::path::Path;

/// Returns the text on one line. A path is cut to the name of its file; of `folder`, the
/// model's own, nothing is left. Names of nodes stay, which often look like paths.
pub(super) fn without_paths(text: &str, folder: Option<&Path>) -> String {
    let text = text.split("\nStacktrace:").next().unwrap_or_default();
    let text = match folder.map(|folder| folder.display().to_string()) {
        Some(folder) if folder.len() > 1 => text.replace(&format!("{folder}/"), ""),
        _ => text.to_owned(),
    };

    let mut said: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind.trim_start();

        match source_place(word) {
            Some(at) => {
                said.extend(Some(word[..at].to_owned()).filter(|w| !w.is_empty()));
                rest = behind_function(rest);
            }
            None if word.starts_with("0x") && word.len() > 6 => {}
            None => said.push(cut_path(word)),
        }
    }

    said.join(" ")
}

/// The endings of ONNX Runtime's source files.
const SOURCES: [&str; 7] = [".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".inl"];

/// Finds `/folder/file.cc:123` at the end of a word.
fn source_place(word: &str) -> Option<usize> {
    let (file, line) = word.rsplit_once(':')?;
    let is_line = !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit());
    let is_source = SOURCES.iter().any(|ending| file.ends_with(ending));
    (is_line && is_source).then(|| file.find('/'))?
}

/// Skips the C++ function that follows a place in the source, up to its last bracket.
fn behind_function(text: &str) -> &str {
    let Some(open) = text.find('(') else {
        return text;
    };
    if !text[..open].contains("::") {
        return text;
    }

    let mut rest = behind_brackets(&text[open..]);
    // `operator()(…)`, and lambdas inside functions.
    while rest.starts_with('(') || rest.starts_with("::") {
        let Some(open) = rest.find('(') else { break };
        rest = behind_brackets(&rest[open..]);
    }
    rest = rest.trim_start_matches('>').trim_start();
    rest = rest.strip_prefix("const ").unwrap_or(rest);
    if rest.starts_with("[with ") {
        rest = behind_brackets(rest).trim_start();
    }
    rest
}

/// Skips from an opening bracket to the one that closes it.
fn behind_brackets(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[at + 1..];
        }
    }

    ""
}

/// Cuts an absolute path to the name of its file, where the name has an ending. Other
/// words with slashes are names in the model.
fn cut_path(word: &str) -> String {
    let opens = |c: char| matches!(c, '"' | '\'' | '(' | '[' | '{' | '<' | '=' | ':' | ',');
    let closes = |c: char| matches!(c, '"' | '\'' | ')' | ']' | '}' | '>' | ',' | ';' | ':');
    let is_start = |at: &usize| *at == 0 || word[..*at].ends_with(opens);

    let slashes = word.match_indices('/').map(|(at, _)| at);
    let Some(start) = slashes.into_iter().find(is_start) else {
        return word.to_owned();
    };
    let length = word[start..].find(closes).unwrap_or(word.len() - start);
    let path = word[start..start + length].trim_end_matches('.');

    match path.rsplit_once('/') {
        Some((folder, file)) if !folder.is_empty() && has_ending(file) => {
            [&word[..start], file, &word[start + path.len()..]].concat()
        }
        _ => word.to_owned(),
    }
}

fn has_ending(file: &str) -> bool {
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
    let letters = ending.bytes().all(|b| b.is_ascii_alphanumeric());
    letters && (1..=8).contains(&ending.len()) && ending.as_bytes()[0].is_ascii_alphabetic()
}
