//! The parts of a documentation page: fenced blocks with their directives, headings as
//! anchors, and links. Reads as much of Markdown as the pages use; runs nothing.

use std::collections::BTreeMap;

/// A fenced block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    /// Line of the opening fence, from 1.
    pub line: usize,
    /// The word after the fence.
    pub language: String,
    pub text: String,
    /// What the HTML comment above the block asks for.
    pub directive: Option<Directive>,
}

/// An HTML comment above a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Directive {
    /// `<!-- not run: REASON -->`.
    NotRun(String),
    /// `<!-- file: NAME -->`: the block is a file of the page's folder.
    File(String),
    /// `<!-- output -->`: what the command before the block prints; `…` stands for anything.
    Output,
    /// `<!-- output in the end -->`: the same, once the command was repeated often enough.
    OutputInTheEnd,
    /// `<!-- exit code: N -->`: the last command of the block ends with this code.
    ExitCode(i32),
}

impl Directive {
    /// Reads a line; `None` if it is not a directive.
    fn parse(line: &str) -> Option<Result<Self, String>> {
        let text = line
            .trim()
            .strip_prefix("<!--")?
            .strip_suffix("-->")?
            .trim();
        let found = match text.split_once(':').map(|(a, b)| (a.trim(), b.trim())) {
            Some(("not run", "")) => Err("'not run' needs a reason".to_owned()),
            Some(("not run", reason)) => Ok(Self::NotRun(reason.to_owned())),
            Some(("file", name)) if !name.is_empty() => Ok(Self::File(name.to_owned())),
            Some(("exit code", code)) => code
                .parse()
                .map(Self::ExitCode)
                .map_err(|e| format!("exit code: {e}")),
            _ if text == "output" => Ok(Self::Output),
            _ if text == "output in the end" => Ok(Self::OutputInTheEnd),
            // A comment for people who read the source.
            _ => return None,
        };
        Some(found)
    }
}

/// The fenced blocks of a page, in order. Refuses a fence without a language,
/// one that does not close, and a directive that stands above no block.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut waiting: Option<(usize, Directive)> = None;

    while let Some((at, line)) = lines.next() {
        let number = at + 1;
        if let Some(directive) = Directive::parse(line) {
            let directive = directive.map_err(|e| format!("line {number}: {e}"))?;
            waiting = Some((number, directive));
            continue;
        }
        let Some(language) = line.strip_prefix("```") else {
            if let (Some((number, directive)), false) = (&waiting, line.trim().is_empty()) {
                return Err(format!("line {number}: {directive:?} is above no block"));
            }
            continue;
        };
        if language.trim().is_empty() {
            return Err(format!("line {number}: the block has no language"));
        }
        blocks.push(Block {
            line: number,
            language: language.trim().to_owned(),
            text: body(&mut lines).ok_or(format!("line {number}: the block does not end"))?,
            directive: waiting.take().map(|(_, directive)| directive),
        });
    }

    match waiting {
        Some((number, directive)) => Err(format!("line {number}: {directive:?} is above no block")),
        None => Ok(blocks),
    }
}

/// The lines up to the closing fence; `None` where there is none.
fn body<'t>(lines: &mut impl Iterator<Item = (usize, &'t str)>) -> Option<String> {
    let mut text = String::new();
    for (_, line) in lines {
        if line.trim_end() == "```" {
            return Some(text);
        }
        text += line;
        text.push('\n');
    }
    None
}

/// The page without its fenced blocks, which hold no headings or links.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_block = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.starts_with("```");
        is_block ^= is_fence;
        (!is_fence && !is_block).then_some((at + 1, line))
    })
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
pub(super) fn anchors(text: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = Vec::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor = anchor(title.trim());
        let count = seen.entry(anchor.clone()).or_default();
        anchors.push(match *count {
            0 => anchor,
            n => format!("{anchor}-{n}"),
        });
        *count += 1;
    }
    anchors
}

/// Letters and digits in lower case, `_` and `-`; blanks become `-`.
fn anchor(title: &str) -> String {
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c })
        .flat_map(char::to_lowercase)
        .collect()
}

/// The targets of a page's links, each with its line.
pub(super) fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        let plain = without_code(line);
        for part in plain.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                links.push((number, target.to_owned()));
            }
        }
    }
    links
}

/// A line without its inline code.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}
