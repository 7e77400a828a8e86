//! Parses Protobuf's text format into a tree of named values with line numbers.
//! Knows no field; `pbtxt.rs` interprets the tree.

use crate::core::error::short;
use crate::core::error::{Error, Result};

/// The largest text.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;
/// The deepest nesting of messages and lists.
pub(crate) const DEPTH_MAX: usize = 32;

/// A named value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedField {
    pub name: String,
    pub line: usize,
    pub value: FieldValue,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FieldValue {
    /// A quoted string, unescaped.
    Str(String),
    /// A number as it was written.
    Num(String),
    /// A bare word: `true`, or the name of an enumeration's member.
    Ident(String),
    /// A string of JSON, where words and 64-bit numbers are strings too.
    Json(String),
    /// Fields, in order.
    Message(Vec<NamedField>),
    /// Values between brackets.
    List(Vec<FieldValue>),
}

/// Reads a whole text. Refuses a text over a limit or not in text format, naming
/// the line.
pub(crate) fn parse(text: &str) -> Result<Vec<NamedField>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the file has {} bytes; the limit is {TEXT_BYTES_MAX}",
            text.len()
        )));
    }

    let mut parser = Parser {
        tokens: Tokens {
            rest: text,
            line: 1,
        },
        next: (1, Token::End),
        depth: 0,
    };

    parser.advance()?;
    let fields = parser.fields()?;
    match parser.next.1 {
        Token::End => Ok(fields),
        _ => Err(parser.unexpected("a field")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Num(String),
    Str(String),
    Mark(char),
    End,
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    next: (usize, Token),
    depth: usize,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<Token> {
        let next = self.tokens.token()?;
        Ok(std::mem::replace(&mut self.next, next).1)
    }

    fn skip(&mut self, marks: &[char]) -> Result<bool> {
        let found = matches!(self.next.1, Token::Mark(c) if marks.contains(&c));
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let found = match &self.next.1 {
            Token::Word(text) | Token::Num(text) => format!("'{}'", short(text)),
            Token::Str(_) => "a string".to_owned(),
            Token::Mark(c) => format!("'{c}'"),
            Token::End => "the end of the file".to_owned(),
        };

        Error::invalid(format!(
            "line {}: expected {wanted}, found {found}",
            self.next.0
        ))
    }

    /// Reads fields up to a closing mark or the end.
    fn fields(&mut self) -> Result<Vec<NamedField>> {
        let mut fields = Vec::new();
        while let (line, Token::Word(name)) = &self.next {
            let (line, name) = (*line, name.clone());
            self.advance()?;
            let colon = self.skip(&[':'])?;
            let opens = matches!(self.next.1, Token::Mark('{' | '<' | '['));
            if !colon && !opens {
                return Err(self.unexpected("':' or '{'"));
            }
            fields.push(NamedField {
                name,
                line,
                value: self.value()?,
            });
            self.skip(&[',', ';'])?;
        }

        Ok(fields)
    }

    fn value(&mut self) -> Result<FieldValue> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::invalid(format!(
                "line {}: nested deeper than {DEPTH_MAX}",
                self.next.0
            )));
        }

        let value = match &self.next.1 {
            Token::Mark('{') => self.message('}')?,
            Token::Mark('<') => self.message('>')?,
            Token::Mark('[') => self.list()?,
            Token::Mark(_) | Token::End => return Err(self.unexpected("a value")),
            Token::Str(_) => self.string()?,
            Token::Word(word) => {
                let word = FieldValue::Ident(word.clone());
                self.advance()?;
                word
            }
            Token::Num(number) => {
                let number = FieldValue::Num(number.clone());
                self.advance()?;
                number
            }
        };

        self.depth -= 1;
        Ok(value)
    }

    fn message(&mut self, close: char) -> Result<FieldValue> {
        self.advance()?;
        let fields = self.fields()?;
        if self.skip(&[close])? {
            Ok(FieldValue::Message(fields))
        } else {
            Err(self.unexpected(&format!("'{close}'")))
        }
    }

    fn list(&mut self) -> Result<FieldValue> {
        self.advance()?;
        let mut values = Vec::new();
        if self.skip(&[']'])? {
            return Ok(FieldValue::List(values));
        }
        loop {
            values.push(self.value()?);
            if self.skip(&[']'])? {
                return Ok(FieldValue::List(values));
            }
            if !self.skip(&[','])? {
                return Err(self.unexpected("',' or ']'"));
            }
        }
    }

    /// Adjacent strings are concatenated.
    fn string(&mut self) -> Result<FieldValue> {
        let mut whole = String::new();
        while let Token::Str(part) = &self.next.1 {
            whole.push_str(part);
            self.advance()?;
        }
        Ok(FieldValue::Str(whole))
    }
}

struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl Tokens<'_> {
    fn token(&mut self) -> Result<(usize, Token)> {
        self.blank();
        let line = self.line;
        let Some(first) = self.rest.chars().next() else {
            return Ok((line, Token::End));
        };
        let token = match first {
            '{' | '}' | '<' | '>' | '[' | ']' | ':' | ',' | ';' => {
                self.rest = &self.rest[1..];
                Token::Mark(first)
            }
            '"' | '\'' => Token::Str(self.quoted(first)?),
            c if c.is_ascii_alphabetic() || c == '_' => {
                Token::Word(self.run(|c| c.is_ascii_alphanumeric() || c == '_'))
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => {
                Token::Num(self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')))
            }
            c => {
                return Err(Error::invalid(format!(
                    "line {line}: unexpected character '{c}'"
                )));
            }
        };

        Ok((line, token))
    }

    /// Skips white space and comments.
    fn blank(&mut self) {
        loop {
            let trimmed = self.rest.trim_start();
            let skipped = &self.rest[..self.rest.len() - trimmed.len()];
            self.line += skipped.matches('\n').count();
            self.rest = trimmed;
            if !trimmed.starts_with('#') {
                return;
            }
            self.rest = &trimmed[trimmed.find('\n').unwrap_or(trimmed.len())..];
        }
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run.to_owned()
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\n' => break,
                '\\' => {
                    let escaped = chars.next().and_then(|(_, e)| Self::escape(e));
                    let refuse = || {
                        Error::invalid(format!(
                            "line {}: unknown escape in a string; use one of \\n \\r \\t \\\\ \\\" \\'",
                            self.line
                        ))
                    };
                    text.push(escaped.ok_or_else(refuse)?);
                }
                _ => text.push(c),
            }
        }

        Err(Error::invalid(format!(
            "line {}: a string is not closed",
            self.line
        )))
    }

    fn escape(letter: char) -> Option<char> {
        Some(match letter {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '\\' | '"' | '\'' => letter,
            _ => return None,
        })
    }
}
