//! JSON text, walked in place. `serde_json` checks a body once, without recursion;
//! every value after that is a slice of it, so there is no tree and no copy.
//! Knows nothing of tensors.

use crate::core::error::{Error, Result, short};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One valid JSON value, without surrounding space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// Checks a whole body. Refuses malformed JSON, trailing text and text
    /// that is not UTF-8. Nesting is not limited here; it costs nothing.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self> {
        let value: &RawValue = serde_json::from_slice(body).map_err(|e| malformed(body, &e))?;
        Ok(Self(value.get().trim_ascii()))
    }

    /// Takes a slice of valid text that is one whole value.
    pub(crate) fn within(text: &'a str) -> Self {
        Self(text)
    }

    /// The value's text.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }

    /// Tells whether the value is an object.
    pub(crate) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// Tells whether the value is a boolean, a number or a string.
    pub(crate) fn is_scalar(self) -> bool {
        !self.0.starts_with(['{', '[', 'n'])
    }

    /// Iterates over an array; `what` names the value in the error.
    pub(crate) fn array(self, what: &str) -> Result<ArrayValues<'a>> {
        if !self.0.starts_with('[') {
            return Err(Error::invalid(format!("{what} must be a JSON array")));
        }
        Ok(ArrayValues {
            text: self.0,
            at: 1,
        })
    }

    /// Iterates over an object's members in order, repeated keys included.
    pub(crate) fn object(self, what: &str) -> Result<Members<'a>> {
        if !self.is_object() {
            return Err(Error::invalid(format!("{what} must be a JSON object")));
        }
        Ok(Members(ArrayValues {
            text: self.0,
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

        Ok(found.map(|value| value.filter(|v| v.0 != "null")))
    }

    /// Reads a string; borrows unless it holds an escape.
    pub(crate) fn string(self, what: &str) -> Result<Cow<'a, str>> {
        let inner = self
            .0
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        match inner {
            None => Err(Error::invalid(format!("{what} must be a JSON string"))),
            Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
            // The text is valid JSON, so only a lone surrogate fails here.
            Some(_) => serde_json::from_str(self.0).map(Cow::Owned).map_err(|_| {
                Error::invalid(format!("{what} is a string with a broken \\u escape"))
            }),
        }
    }

    /// Reads an integer that fits `T`; refuses `1.0` and `"1"`.
    pub(crate) fn integer<T: std::str::FromStr>(self, what: &str) -> Result<T> {
        self.0.parse().map_err(|_| {
            Error::invalid(format!(
                "{what} is {}, not an integer in range",
                short(self.0)
            ))
        })
    }

    /// Reads `true` or `false`.
    pub(crate) fn boolean(self, what: &str) -> Result<bool> {
        match self.0 {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Error::invalid(format!("{what} must be true or false"))),
        }
    }
}

/// The values of an array.
#[derive(Clone, Debug)]
pub(crate) struct ArrayValues<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for ArrayValues<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let bytes = self.text.as_bytes();
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
        self.at = value_end(bytes, start);
        Some(Json(&self.text[start..self.at]))
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

/// Finds where the valid value that starts at `start` ends.
pub(crate) fn value_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut open = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at),
            b'[' | b'{' => {
                open += 1;
                at += 1;
            }
            b']' | b'}' => {
                open -= 1;
                at += 1;
            }
            _ if open > 0 => at += 1,
            _ => {
                let rest = &bytes[at..];
                let ends =
                    |b: &u8| matches!(b, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\r' | b'\n');
                return at + rest.iter().position(ends).unwrap_or(rest.len());
            }
        }
        if open == 0 {
            break;
        }
    }

    at
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }

    bytes.len()
}

fn malformed(body: &[u8], error: &serde_json::Error) -> Error {
    if body.trim_ascii().is_empty() {
        return Error::invalid("the body is empty where JSON is expected");
    }
    let lines = body
        .split_inclusive(|b| *b == b'\n')
        .take(error.line().saturating_sub(1));
    let at = lines.map(<[u8]>::len).sum::<usize>() + error.column();
    let around = &body[at.saturating_sub(2).min(body.len())..(at + 8).min(body.len())];
    let has = |token: &[u8]| around.windows(token.len()).any(|w| w == token);
    let hint = if has(b"NaN") || has(b"Inf") {
        "; NaN and Infinity are not JSON numbers"
    } else {
        ""
    };

    Error::invalid(format!("the body is not valid JSON: {error}{hint}"))
}
