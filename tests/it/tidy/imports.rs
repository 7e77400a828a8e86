//! Reads which module of the project imports which, from the text of its files.
//! Sees `crate::a::b`, `super::b`, groups in braces and child modules; ignores
//! comments, strings and test modules.

use std::collections::{BTreeMap, BTreeSet};

/// One source file as a module, such as `serve::batch::queue`.
pub(super) struct Module {
    /// The path of the file, relative to the root of its package.
    pub file: String,
    /// The code without comments, strings and unit tests.
    pub code: String,
}

/// Modules by path; the root of a package is the empty path.
pub(super) type Modules = BTreeMap<String, Module>;

/// Replaces comments and the contents of strings by spaces, line by line.
pub(super) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        code.extend(
            rest[..length]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' }),
        );
        rest = &rest[length..];
    }
    code
}

/// The length of the comment, string or character that `text` begins with; 0 for none.
fn skipped(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("r#\"") {
        return text.find("\"#").map_or(text.len(), |end| end + 2);
    }
    if text.starts_with("'\"'") {
        return 3;
    }
    if !text.starts_with('"') {
        return 0;
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The code before the first test module.
pub(super) fn without_tests(code: &str) -> &str {
    let tests = code.match_indices("#[cfg(test)]").find(|(at, mark)| {
        code[at + mark.len()..]
            .trim_start()
            .starts_with("mod tests {")
    });
    tests.map_or(code, |(at, _)| &code[..at])
}

/// Every module that the code of `module` names, as absolute paths.
pub(super) fn imports(modules: &Modules, module: &str) -> BTreeSet<String> {
    let code = without_tests(&modules[module].code);
    let mut found = BTreeSet::new();
    for (at, word) in words(code) {
        let before = code[..at].trim_end();
        if before.ends_with("::") || before.ends_with('$') {
            continue;
        }
        let base = match word {
            "crate" => Some(String::new()),
            "super" => Some(parent(module).to_owned()),
            name if modules.contains_key(&join(module, name)) => Some(join(module, name)),
            _ => None,
        };
        let Some(base) = base else { continue };
        paths(&code[at + word.len()..], &base, &mut found);
    }
    found
        .iter()
        .map(|path| nearest(modules, path))
        .filter(|target| !target.is_empty() && *target != module)
        .map(str::to_owned)
        .collect()
}

/// Whether the code names the module `child` of the crate `library`.
pub(super) fn names_child(code: &str, library: &str, child: &str) -> bool {
    let mut found = BTreeSet::new();
    for (at, word) in words(code).filter(|(_, word)| *word == library) {
        paths(&code[at + word.len()..], library, &mut found);
    }
    let child = join(library, child);
    let below = format!("{child}::");
    found
        .iter()
        .any(|path| *path == child || path.starts_with(&below))
}

/// Identifiers with their positions.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        let length = code[start..]
            .find(|c| !is_word(c))
            .unwrap_or(code.len() - start);
        at = start + length;
        Some((start, &code[start..at]))
    })
}

/// Follows `::name::{a, b::c}` after `base` and notes every path it can mean.
fn paths(rest: &str, base: &str, found: &mut BTreeSet<String>) {
    let Some(rest) = rest.strip_prefix("::") else {
        if !base.is_empty() {
            found.insert(base.to_owned());
        }
        return;
    };
    if let Some(group) = rest.strip_prefix('{') {
        for item in items(group) {
            let name = name_at(item);
            if name == "self" || name.is_empty() {
                found.insert(base.to_owned());
            } else {
                paths(&item[name.len()..], &join(base, name), found);
            }
        }
        return;
    }
    match name_at(rest) {
        "super" => paths(&rest["super".len()..], parent(base), found),
        "" => {
            found.insert(base.to_owned());
        }
        name => paths(&rest[name.len()..], &join(base, name), found),
    }
}

/// The items of a group, up to its closing brace.
fn items(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(group[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(group[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

fn name_at(text: &str) -> &str {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

fn join(base: &str, name: &str) -> String {
    if base.is_empty() {
        name.to_owned()
    } else {
        format!("{base}::{name}")
    }
}

/// The module that a module lies in.
pub(super) fn parent(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(parent, _)| parent)
}

/// The longest part of a path that is a module.
fn nearest<'p>(modules: &Modules, mut path: &'p str) -> &'p str {
    while !path.is_empty() && !modules.contains_key(path) {
        path = parent(path);
    }
    path
}

/// Circles of modules: each a list of modules that import each other. A module
/// may use what its ancestors declare; that arrow is not counted.
pub(super) fn circles(modules: &Modules) -> Vec<Vec<String>> {
    let arrows: BTreeMap<&str, BTreeSet<String>> = modules
        .keys()
        .map(|module| {
            let mut targets = imports(modules, module);
            targets.retain(|target| !module.starts_with(&format!("{target}::")));
            (module.as_str(), targets)
        })
        .collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows
        .keys()
        .map(|module| (*module, reach(&arrows, module)))
        .collect();

    let mut circles = BTreeSet::new();
    for module in arrows.keys() {
        let circle: Vec<String> = reached[module]
            .iter()
            .filter(|other| reached[*other].contains(module))
            .map(|other| (*other).to_owned())
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// Every module that one imports, directly or through others.
fn reach<'a>(arrows: &'a BTreeMap<&str, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(module) = open.pop() {
        for target in arrows.get(module).into_iter().flatten() {
            if found.insert(target.as_str()) {
                open.push(target);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> Modules {
        files
            .iter()
            .map(|(path, text)| {
                let module = Module {
                    file: (*path).to_owned(),
                    code: code_of(text),
                };
                ((*path).to_owned(), module)
            })
            .collect()
    }

    fn check(text: &str, expected: &[&str]) {
        let all = modules(&[
            ("a", ""),
            ("a::b", text),
            ("a::b::c", ""),
            ("a::d", ""),
            ("e", ""),
            ("e::f", ""),
        ]);
        let found: Vec<String> = imports(&all, "a::b").into_iter().collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn every_form_of_import_is_seen() {
        check("use crate::e::f::Thing;", &["e::f"]);
        check(
            "use crate::{a::d, e::{self, f::Thing}};",
            &["a::d", "e", "e::f"],
        );
        check("use super::d::{One, Two};", &["a::d"]);
        check("use super::{Parent, d};", &["a", "a::d"]);
        check("fn x() { crate::e::f::go() }", &["e::f"]);
        check("use c::Inner;", &["a::b::c"]);
        check("mod c;\nfn x() { c::go() }", &["a::b::c"]);
        check("// crate::e\nlet x = \"crate::e\";", &[]);
        check("#[cfg(test)]\nmod tests { use crate::e::f; }", &[]);
    }

    #[test]
    fn a_circle_is_found_and_a_child_may_use_its_parent() {
        let tied = modules(&[("a", "use crate::b::X;"), ("b", "use crate::a::Y;")]);
        assert_eq!(circles(&tied), [vec!["a".to_owned(), "b".to_owned()]]);
        let family = modules(&[("a", "mod b; use b::X;"), ("a::b", "use super::Y;")]);
        assert_eq!(circles(&family).len(), 0);
        let siblings = modules(&[
            ("a", ""),
            ("a::b", "use super::c::X;"),
            ("a::c", "use super::b::Y;"),
        ]);
        assert_eq!(circles(&siblings).len(), 1);
    }
}
