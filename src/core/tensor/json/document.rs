//! JSON text, walked in place. `serde_json` checks a body once, without recursion;
//! every value after that is a slice of it, so there is no tree and no copy.
//! Knows nothing of tensors, but leaves long arrays to their reader (`deferred.rs`).

use super::deferred::{Deferred, reduced};
use super::number::ends_value;
use super::scan::{find, string_end};
use crate::core::error::{Error, Result, short};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One JSON value, without surrounding space. Valid, unless it is a deferred array or within one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<'a> {
    text: &'a str,
    deferred: &'a [Deferred<'a>],
}

/// Reads a whole body, whose long arrays are checked while `read` reads them. Refuses what
/// [`Json::parse`] refuses, with the same error, before any error of `read`.
pub(crate) fn read_body<T>(body: &[u8], read: impl FnOnce(Json<'_>) -> Result<T>) -> Result<T> {
    let Some((text, deferred)) = reduced(body) else {
        return read(Json::parse(body)?);
    };
    let value = Json {
        text: text.trim_ascii(),
        deferred: &deferred,
    };

    let read = read(value);
    // One that was read to its end is valid; where all are, so is the body.
    if deferred.iter().any(Deferred::is_unread) {
        Json::parse(body)?;
    }
    read
}

impl<'a> Json<'a> {
    /// Checks a whole body. Refuses malformed JSON, trailing text and text
    /// that is not UTF-8. Nesting is not limited here; it costs nothing. Takes `NaN`, `Infinity` and
    /// `-Infinity` for values, as Python writes and reads them.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self> {
        let error = match serde_json::from_slice::<&RawValue>(body) {
            Ok(value) => return Ok(Self::within(value.get().trim_ascii())),
            Err(error) => error,
        };
        let numbers = in_json_numbers(body).ok_or_else(|| malformed(body, &error))?;
        serde_json::from_slice::<&RawValue>(&numbers).map_err(|e| malformed(body, &e))?;
        let text = str::from_utf8(body)
            .map_err(|_| Error::invalid("the body is not valid JSON: it is not UTF-8"))?;
        Ok(Self::within(text.trim_ascii()))
    }

    /// Takes a slice of valid text that is one whole value.
    pub(crate) fn within(text: &'a str) -> Self {
        Self {
            text,
            deferred: &[],
        }
    }

    /// The deferred array that this value is; its reader checks the text.
    pub(super) fn deferred(self) -> Option<&'a Deferred<'a>> {
        let start = self.text.as_ptr().addr();
        let at = self.deferred.binary_search_by_key(&start, |d| d.start());
        at.ok().map(|at| &self.deferred[at])
    }

    /// The value's text.
    pub(crate) fn text(self) -> &'a str {
        self.text
    }

    /// Tells whether the value is an object.
    pub(crate) fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// Tells whether the value is a boolean, a number or a string.
    pub(crate) fn is_scalar(self) -> bool {
        !self.text.starts_with(['{', '[', 'n'])
    }

    /// Iterates over an array; `what` names the value in the error.
    pub(crate) fn array(self, what: &str) -> Result<ArrayValues<'a>> {
        if !self.text.starts_with('[') {
            return Err(Error::invalid(format!("{what} must be a JSON array")));
        }
        Ok(ArrayValues {
            within: self,
            at: 1,
        })
    }

    /// Iterates over an object's members in order, repeated keys included.
    pub(crate) fn object(self, what: &str) -> Result<Members<'a>> {
        if !self.is_object() {
            return Err(Error::invalid(format!("{what} must be a JSON object")));
        }
        Ok(Members(ArrayValues {
            within: self,
            at: 1,
        }))
    }

    /// Picks an object's members by name; a `null` counts as absent, and other
    /// names are ignored. Refuses a name given twice.
    pub(crate) fn fields<const N: usize>(
        self,
        what: &str,
        names: [&str; N],
    ) -> Result<[Option<Self>; N]> {
        let mut found = [None; N];
        for member in self.object(what)? {
            let (key, value) = member?;
            let Some(at) = names.iter().position(|name| *name == key) else {
                continue;
            };
            if found[at].replace(value).is_some() {
                return Err(Error::invalid(format!("{what} has the key '{key}' twice")));
            }
        }

        Ok(found.map(|value| value.filter(|v| v.text != "null")))
    }

    /// Reads a string; borrows unless it holds an escape.
    pub(crate) fn string(self, what: &str) -> Result<Cow<'a, str>> {
        let inner = self
            .text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        match inner {
            None => Err(Error::invalid(format!("{what} must be a JSON string"))),
            Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
            // The text is valid JSON, so only a lone surrogate fails here.
            Some(_) => serde_json::from_str(self.text)
                .map(Cow::Owned)
                .map_err(|_| {
                    Error::invalid(format!("{what} is a string with a broken \\u escape"))
                }),
        }
    }

    /// Reads an integer that fits `T`; refuses `1.0` and `"1"`.
    pub(crate) fn integer<T: std::str::FromStr>(self, what: &str) -> Result<T> {
        self.text.parse().map_err(|_| {
            Error::invalid(format!(
                "{what} is {}, not an integer in range",
                short(self.text)
            ))
        })
    }

    /// Reads `true` or `false`.
    pub(crate) fn boolean(self, what: &str) -> Result<bool> {
        match self.text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Error::invalid(format!("{what} must be true or false"))),
        }
    }
}

/// The values of an array.
#[derive(Clone, Debug)]
pub(crate) struct ArrayValues<'a> {
    within: Json<'a>,
    at: usize,
}

impl<'a> Iterator for ArrayValues<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let bytes = self.within.text.as_bytes();
        while matches!(
            bytes.get(self.at)?,
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b':'
        ) {
            self.at += 1;
        }

        if matches!(bytes[self.at], b']' | b'}') {
            return None;
        }
        let start = self.at;
        self.at = value_end(bytes, start, self.within.deferred);
        Some(Json {
            text: &self.within.text[start..self.at],
            ..self.within
        })
    }
}

/// The members of an object: keys and values alternate.
#[derive(Clone, Debug)]
pub(crate) struct Members<'a>(ArrayValues<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = Result<(Cow<'a, str>, Json<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.next()?;
        let value = self.0.next()?;
        Some(key.string("a key").map(|key| (key, value)))
    }
}

/// Finds where the valid value that starts at `start` ends. Passes over `deferred` arrays.
pub(super) fn value_end(bytes: &[u8], start: usize, deferred: &[Deferred<'_>]) -> usize {
    match bytes.get(start) {
        Some(b'"') => string_end(bytes, start),
        Some(b'[' | b'{') => container_end(bytes, start, deferred),
        _ => find(bytes, start, |b| {
            matches!(b, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\r' | b'\n')
        }),
    }
}

fn container_end(bytes: &[u8], start: usize, deferred: &[Deferred<'_>]) -> usize {
    let address = bytes.as_ptr().addr();
    let before = deferred.partition_point(|d| d.start() < address + start);
    let mut ahead = deferred[before..].iter().peekable();
    let mut at = start;
    let mut open = 0_usize;
    while let Some(byte) = bytes.get(at) {
        let array = ahead.next_if(|d| d.start() == address + at);
        let end = array.map_or(at + 1, |array| at + array.len());
        match byte {
            b'"' => {
                at = find_special(bytes, string_end(bytes, at));
                continue;
            }
            _ if array.is_some() => {}
            b'[' | b'{' => open += 1,
            _ => open -= 1,
        }
        if open == 0 {
            return end;
        }
        at = find_special(bytes, end);
    }

    bytes.len()
}

fn find_special(bytes: &[u8], start: usize) -> usize {
    find(bytes, start, |b| {
        // A bracket and a brace differ in this bit alone.
        let folded = b | 0x20;
        (folded == b'{') | (folded == b'}') | (b == b'"')
    })
}

fn malformed(body: &[u8], error: &serde_json::Error) -> Error {
    if body.trim_ascii().is_empty() {
        return Error::invalid("the body is empty where JSON is expected");
    }
    Error::invalid(format!("the body is not valid JSON: {error}"))
}

/// The body with a JSON number of the same length in the place of each value that JSON has no number for: it is
/// valid JSON if the body is, apart from these. None if there are none.
fn in_json_numbers(body: &[u8]) -> Option<Vec<u8>> {
    const TOKENS: [&[u8]; 2] = [b"NaN", b"Infinity"];
    let mut numbers: Option<Vec<u8>> = None;
    let mut at = 0;
    loop {
        at = find(body, at, |b| (b == b'"') | (b == b'N') | (b == b'I'));
        match body.get(at) {
            None => return numbers,
            Some(b'"') => at = string_end(body, at),
            Some(_) => {
                let token = TOKENS
                    .into_iter()
                    .find(|token| body[at..].starts_with(token));
                let end = at + token.map_or(1, <[u8]>::len);
                let is_negative = token == Some(TOKENS[1]) && at > 0 && body[at - 1] == b'-';
                let start = at - usize::from(is_negative);
                let is_value = start == 0 || begins_value(body[start - 1]);
                if token.is_some() && is_value && ends_value(body.get(end)) {
                    numbers.get_or_insert_with(|| body.to_vec())[at..end].fill(b'1');
                }
                at = end;
            }
        }
    }
}

/// Tells whether a value may begin after this byte.
fn begins_value(before: u8) -> bool {
    matches!(before, b',' | b'[' | b':' | b' ' | b'\t' | b'\r' | b'\n')
}
