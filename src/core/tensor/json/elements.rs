//! The elements of a tensor, read from nested JSON arrays straight into the little-endian bytes of its
//! buffer. Owns the rules on nesting; the numbers themselves are read in `number.rs`.

use super::document::{Json, value_end};
use super::number::Number;
use super::scan::find;
use crate::core::error::{Error, Result, short};
use crate::core::tensor::{DType, Strings, Tensor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The deepest nesting of arrays read; deeper is refused.
pub(crate) const JSON_DEPTH_MAX: usize = 64;

/// How elements are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ElementRules {
    /// The datatype wanted; FP16 and BF16 have no JSON form.
    pub(crate) dtype: DType,
    /// The deepest nesting taken, at most [`JSON_DEPTH_MAX`].
    pub(crate) depth_max: usize,
    /// How many elements to make room for; 0 where that is not known. More may come.
    pub(crate) count: usize,
    /// Whether `{"b64": text}` stands for a string.
    pub(crate) base64: bool,
}

/// Elements being gathered and the shape their nesting has shown so far.
#[derive(Debug)]
pub(crate) struct Elements {
    rules: ElementRules,
    /// The length of the arrays at each depth; `None` until the first closes.
    lengths: Vec<Option<usize>>,
    count: usize,
    /// The raw wire form: strings carry their 4-byte length.
    raw: Vec<u8>,
}

impl Elements {
    /// Starts empty. Refuses a datatype without a JSON form.
    pub(crate) fn new(rules: ElementRules) -> Result<Self> {
        if matches!(rules.dtype, DType::F16 | DType::BF16) {
            return Err(Error::invalid(format!(
                "{} has no JSON form; send it with the binary tensor data extension or over gRPC",
                rules.dtype
            )));
        }

        let rules = ElementRules {
            depth_max: rules.depth_max.min(JSON_DEPTH_MAX),
            ..rules
        };

        Ok(Self {
            rules,
            lengths: Vec::new(),
            count: 0,
            raw: Vec::new(),
        })
    }

    /// Reads one value, nested arrays or a single element.
    pub(crate) fn of(value: Json<'_>, rules: ElementRules) -> Result<Self> {
        let mut elements = Self::new(rules)?;
        if rules.count > 0 {
            // An element takes two bytes of text at least, whatever the client says of their count.
            let text_bytes = value.text().len();
            let count = rules.count.min(text_bytes / 2 + 1);
            let width = rules.dtype.element_bytes();
            // The length of a string takes as much as its quotes and the comma.
            let bytes = width.map_or(text_bytes, |width| count * width);
            elements.raw.reserve_exact(bytes);
        }
        elements.read(value, 0)?;
        Ok(elements)
    }

    /// Opens the outermost array, whose members come one by one through
    /// [`Elements::push`].
    pub(crate) fn stacked(rules: ElementRules) -> Result<Self> {
        let mut elements = Self::new(rules)?;
        elements.open(0)?;
        Ok(elements)
    }

    /// Adds a member to the outermost array.
    pub(crate) fn push(&mut self, value: Json<'_>) -> Result<()> {
        self.read(value, 1)
    }

    /// Closes the outermost array over its `rows` members.
    pub(crate) fn close_stack(&mut self, rows: usize) -> Result<()> {
        self.close(0, rows)
    }

    /// The shape the nesting shows; empty for a single element.
    pub(crate) fn shape(&self) -> Vec<usize> {
        self.lengths.iter().map(|n| n.unwrap_or(0)).collect()
    }

    /// Builds the tensor in `shape`, which must take as many elements as were read.
    pub(crate) fn into_tensor(self, shape: Vec<usize>) -> Result<Tensor> {
        if crate::core::tensor::elements(&shape) != Some(self.count) {
            return Err(Error::invalid(format!(
                "{} elements do not fill the shape {shape:?}",
                self.count
            )));
        }

        match self.rules.dtype {
            DType::String => Tensor::strings(shape, Strings::from_prefixed(self.raw.into())?),
            dtype => Tensor::fixed(dtype, shape, self.raw.into()),
        }
    }

    // A loop, not a recursion: the client chooses the depth until it is checked. A deferred array is
    // checked here, so each byte is taken for what the grammar says and for nothing else.
    fn read(&mut self, value: Json<'_>, depth: usize) -> Result<()> {
        let bytes = value.text().as_bytes();
        let mut counts: Vec<usize> = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let level = depth + counts.len();
            if let Some(count) = counts.last_mut() {
                *count += 1;
            }
            if bytes[at] == b'[' {
                self.open(level)?;
                counts.push(0);
                at = after_space(bytes, at + 1);
                if bytes.get(at) != Some(&b']') {
                    continue;
                }
            } else {
                let before = self.count;
                at = self.run(value, at, level)?;
                if let Some(count) = counts.last_mut() {
                    *count += self.count - before - 1;
                }
            }

            at = after_space(bytes, at);
            while bytes.get(at) == Some(&b']') {
                let count = counts.pop().ok_or_else(malformed)?;
                self.close(depth + counts.len(), count)?;
                at = after_space(bytes, at + 1);
            }
            match (bytes.get(at), counts.is_empty()) {
                (Some(b','), false) => at = after_space(bytes, at + 1),
                (None, true) => {}
                _ => return Err(malformed()),
            }
        }

        if !counts.is_empty() {
            return Err(malformed());
        }
        if let Some(deferred) = value.deferred() {
            deferred.mark_read();
        }
        Ok(())
    }

    /// Reads the elements from `at` on, one or as many as follow each other, and says where they end.
    fn run(&mut self, value: Json<'_>, at: usize, depth: usize) -> Result<usize> {
        if depth != self.lengths.len() {
            return Err(self.ragged("found an element instead of an array"));
        }
        let text = value.text();
        let (count, end) = match self.rules.dtype {
            DType::U8 => numbers::<u8>(&mut self.raw, text, at),
            DType::U16 => numbers::<u16>(&mut self.raw, text, at),
            DType::U32 => numbers::<u32>(&mut self.raw, text, at),
            DType::U64 => numbers::<u64>(&mut self.raw, text, at),
            DType::I8 => numbers::<i8>(&mut self.raw, text, at),
            DType::I16 => numbers::<i16>(&mut self.raw, text, at),
            DType::I32 => numbers::<i32>(&mut self.raw, text, at),
            DType::I64 => numbers::<i64>(&mut self.raw, text, at),
            DType::F32 => numbers::<f32>(&mut self.raw, text, at),
            DType::F64 => numbers::<f64>(&mut self.raw, text, at),
            DType::String => self.strings(text, at)?,
            DType::Bool | DType::F16 | DType::BF16 => (0, at),
        };

        self.count += count;
        if count > 0 {
            return Ok(end);
        }
        let end = value_end(text.as_bytes(), at, &[]);
        self.leaf(&text[at..end])?;
        Ok(end)
    }

    fn open(&mut self, depth: usize) -> Result<()> {
        if depth >= self.rules.depth_max {
            return Err(Error::invalid(format!(
                "arrays are nested deeper than {}",
                self.rules.depth_max
            )));
        }

        if depth < self.lengths.len() {
            return Ok(());
        }
        if self.count > 0 {
            return Err(self.ragged("found an array instead of an element"));
        }
        self.lengths.push(None);
        Ok(())
    }

    fn close(&mut self, depth: usize, count: usize) -> Result<()> {
        match self.lengths[depth].replace(count) {
            Some(before) if before != count => Err(self.ragged(&format!(
                "arrays at depth {depth} have {before} and {count} members"
            ))),
            _ => Ok(()),
        }
    }

    fn ragged(&self, how: &str) -> Error {
        Error::invalid(format!(
            "the nesting is ragged: {how} (after {} elements)",
            self.count
        ))
    }

    fn leaf(&mut self, text: &str) -> Result<()> {
        let fits = match self.rules.dtype {
            DType::String => {
                self.string(text)?;
                true
            }
            DType::Bool => parse_bool(&mut self.raw, text),
            // Not a number, or not one of this datatype; but truth is 1.
            dtype => truth(&mut self.raw, dtype, text),
        };

        if !fits {
            return Err(self.wrong_element(text));
        }
        self.count += 1;
        Ok(())
    }

    fn wrong_element(&self, text: &str) -> Error {
        Error::invalid(format!(
            "element {} is {}, which is not a valid {} value",
            self.count,
            short(text),
            self.rules.dtype
        ))
    }

    /// Appends the strings without escapes that follow each other from `at` on. Returns how many, and
    /// where the last one ends.
    fn strings(&mut self, text: &str, at: usize) -> Result<(usize, usize)> {
        let bytes = text.as_bytes();
        let mut count = 0;
        let mut end = at;
        let mut next = at;
        while bytes.get(next) == Some(&b'"') {
            let quote = find(bytes, next + 1, |b| (b == b'"') | (b == b'\\') | (b < b' '));
            if bytes.get(quote) != Some(&b'"') {
                break;
            }
            self.push_string(&bytes[next + 1..quote])?;
            count += 1;
            end = quote + 1;
            match after_comma(bytes, end) {
                Some(after) => next = after,
                None => break,
            }
        }

        Ok((count, end))
    }

    /// Reads a string with escapes, or an object that stands for one.
    fn string(&mut self, text: &str) -> Result<()> {
        let what = format_args!("element {}", self.count);
        let value = Json::within(text);
        if text.starts_with('"') {
            if !text.contains('\\') {
                // It holds a control character.
                return Err(malformed());
            }
            let decoded = value.string(&what.to_string())?;
            self.push_string(decoded.as_bytes())
        } else if self.rules.base64 && value.is_object() {
            let bytes = base64_of(value).map_err(|e| e.context(what))?;
            self.push_string(&bytes)
        } else if text == "null" {
            // A missing word.
            self.push_string(b"")
        } else {
            Err(self.wrong_element(text))
        }
    }

    fn push_string(&mut self, bytes: &[u8]) -> Result<()> {
        let len =
            u32::try_from(bytes.len()).map_err(|_| Error::invalid("a string is over 4 GiB"))?;
        self.raw.extend_from_slice(&len.to_le_bytes());
        self.raw.extend_from_slice(bytes);
        Ok(())
    }
}

fn parse_bool(raw: &mut Vec<u8>, text: &str) -> bool {
    let value = match text {
        "true" => 1,
        "false" => 0,
        _ => return false,
    };

    raw.push(value);
    true
}

/// Appends 1 for `true` and 0 for `false`.
fn truth(raw: &mut Vec<u8>, dtype: DType, text: &str) -> bool {
    let is_true = match text {
        "true" => true,
        "false" => false,
        _ => return false,
    };
    match dtype {
        DType::F32 => raw.extend_from_slice(&f32::from(u8::from(is_true)).to_le_bytes()),
        DType::F64 => raw.extend_from_slice(&f64::from(u8::from(is_true)).to_le_bytes()),
        dtype => {
            let width = dtype.element_bytes().unwrap_or_default();
            let bytes = u64::from(is_true).to_le_bytes();
            raw.extend_from_slice(&bytes[..width]);
        }
    }
    true
}

/// Appends the numbers that follow each other from `at` on. Returns how many, and where the last one
/// ends.
fn numbers<T: Number>(raw: &mut Vec<u8>, text: &str, at: usize) -> (usize, usize) {
    let bytes = text.as_bytes();
    let mut count = 0;
    let mut end = at;
    let mut next = at;
    while let Some((value, after)) = T::read(text, next) {
        raw.extend_from_slice(value.to_wire().as_ref());
        count += 1;
        end = after;
        match after_comma(bytes, end) {
            Some(after) => next = after,
            None => break,
        }
    }

    (count, end)
}

/// Passes over a comma and the space around it.
#[inline]
fn after_comma(bytes: &[u8], at: usize) -> Option<usize> {
    let comma = after_space(bytes, at);
    (bytes.get(comma) == Some(&b',')).then(|| after_space(bytes, comma + 1))
}

#[inline]
fn after_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// The error of a deferred array, in whose place the client gets the one of `serde_json`.
fn malformed() -> Error {
    Error::invalid("the body is not valid JSON")
}

/// Tells whether a value is an object with the single key `b64`.
pub(crate) fn is_base64(value: Json<'_>) -> bool {
    // Asked of every cell of a table, most of which are numbers.
    if !value.is_object() {
        return false;
    }
    let Ok(mut members) = value.object("") else {
        return false;
    };
    matches!((members.next(), members.next()), (Some(Ok((key, _))), None) if key == "b64")
}

/// Reads the bytes for which an object with the single key `b64` stands.
pub(crate) fn base64_of(value: Json<'_>) -> Result<Vec<u8>> {
    let [text] = value.fields("a base64 string", ["b64"])?;
    let text = text.filter(|_| is_base64(value));
    let text = text
        .ok_or_else(|| Error::invalid("an object here must be {\"b64\": text}"))?
        .string("b64")?;
    STANDARD
        .decode(&*text)
        .map_err(|_| Error::invalid("b64 is not standard base64"))
}
