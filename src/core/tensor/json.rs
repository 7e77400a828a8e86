//! The elements of a tensor as JSON: read from nested arrays straight into
//! little-endian bytes, and written back as numbers that read to the same
//! bits. Owns the rules on numbers and nesting; knows no protocol.

pub(crate) mod document;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result, short};
use crate::core::tensor::{DType, Data, Strings, Tensor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use document::{Json, value_end};

/// The deepest nesting of arrays read; deeper is refused.
pub(crate) const JSON_DEPTH_MAX: usize = 64;

/// How elements are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ElementRules {
    /// The datatype wanted; FP16 and BF16 have no JSON form.
    pub(crate) dtype: DType,
    /// The deepest nesting taken, at most [`JSON_DEPTH_MAX`].
    pub(crate) depth_max: usize,
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

    // A loop, not a recursion: the client chooses the depth until it is checked.
    fn read(&mut self, value: Json<'_>, depth: usize) -> Result<()> {
        let text = value.text();
        let bytes = text.as_bytes();
        let mut at = 0;
        let mut counts: Vec<usize> = Vec::new();
        while let Some(byte) = bytes.get(at) {
            if *byte == b']' {
                let count = counts.pop().expect("valid JSON closes only what it opened");
                self.close(depth + counts.len(), count)?;
                at += 1;
                continue;
            }
            if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',') {
                at += 1;
                continue;
            }
            let level = depth + counts.len();
            if let Some(count) = counts.last_mut() {
                *count += 1;
            }
            if *byte == b'[' {
                self.open(level)?;
                counts.push(0);
                at += 1;
            } else {
                let end = value_end(bytes, at);
                self.leaf(&text[at..end], level)?;
                at = end;
            }
        }

        Ok(())
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

    fn leaf(&mut self, text: &str, depth: usize) -> Result<()> {
        if depth != self.lengths.len() {
            return Err(self.ragged("found an element instead of an array"));
        }
        let fits = match self.rules.dtype {
            DType::String => return self.string(text),
            DType::Bool => parse_bool(&mut self.raw, text),
            DType::U8 => number(&mut self.raw, text, u8::to_le_bytes),
            DType::U16 => number(&mut self.raw, text, u16::to_le_bytes),
            DType::U32 => number(&mut self.raw, text, u32::to_le_bytes),
            DType::U64 => number(&mut self.raw, text, u64::to_le_bytes),
            DType::I8 => number(&mut self.raw, text, i8::to_le_bytes),
            DType::I16 => number(&mut self.raw, text, i16::to_le_bytes),
            DType::I32 => number(&mut self.raw, text, i32::to_le_bytes),
            DType::I64 => number(&mut self.raw, text, i64::to_le_bytes),
            // Parsed in its own width: parsing as f64 first would round twice.
            DType::F32 => {
                text.parse().is_ok_and(f32::is_finite)
                    && number(&mut self.raw, text, f32::to_le_bytes)
            }
            DType::F64 => {
                text.parse().is_ok_and(f64::is_finite)
                    && number(&mut self.raw, text, f64::to_le_bytes)
            }
            DType::F16 | DType::BF16 => false,
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

    fn string(&mut self, text: &str) -> Result<()> {
        let what = format_args!("element {}", self.count);
        let value = Json::within(text);
        if text.starts_with('"') {
            let decoded = value.string(&what.to_string())?;
            self.push_string(decoded.as_bytes())
        } else if self.rules.base64 && value.is_object() {
            let bytes = base64_of(value).map_err(|e| e.context(what))?;
            self.push_string(&bytes)
        } else {
            Err(self.wrong_element(text))
        }
    }

    fn push_string(&mut self, bytes: &[u8]) -> Result<()> {
        let len =
            u32::try_from(bytes.len()).map_err(|_| Error::invalid("a string is over 4 GiB"))?;
        self.raw.extend_from_slice(&len.to_le_bytes());
        self.raw.extend_from_slice(bytes);
        self.count += 1;
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

fn number<T: std::str::FromStr, const W: usize>(
    raw: &mut Vec<u8>,
    text: &str,
    bytes: fn(T) -> [u8; W],
) -> bool {
    let value = text.parse().map(bytes);
    value.map(|bytes| raw.extend_from_slice(&bytes)).is_ok()
}

/// Tells whether a value is an object with the single key `b64`.
pub(crate) fn is_base64(value: Json<'_>) -> bool {
    let Ok(mut members) = value.object("") else {
        return false;
    };
    matches!((members.next(), members.next()), (Some(Ok((key, _))), None) if key == "b64")
}

fn base64_of(value: Json<'_>) -> Result<Vec<u8>> {
    let [text] = value.fields("a base64 string", ["b64"])?;
    let text = text.filter(|_| is_base64(value));
    let text = text
        .ok_or_else(|| Error::invalid("an object here must be {\"b64\": text}"))?
        .string("b64")?;
    STANDARD
        .decode(&*text)
        .map_err(|_| Error::invalid("b64 is not standard base64"))
}

/// Appends a tensor's elements, as one flat array or nested by its shape.
/// Non-finite floats become `NaN`, `Infinity` and `-Infinity`.
pub(crate) fn write_elements(out: &mut Vec<u8>, tensor: &Tensor, nested: bool) {
    let count = crate::core::tensor::elements(tensor.shape()).expect("checked at construction");
    let flat = [count];
    let shape = if nested { tensor.shape() } else { &flat };
    Writer::new(tensor, StringForm::Plain).write(out, shape);
}

/// How strings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StringForm {
    /// As JSON strings.
    Plain,
    /// As `{"b64": text}`.
    Base64,
}

/// Writes a tensor's elements in order, as many at a time as requested.
pub(crate) struct Writer<'a> {
    dtype: DType,
    text: StringForm,
    source: ElementSource<'a>,
}

enum ElementSource<'a> {
    Fixed(std::slice::ChunksExact<'a, u8>),
    Strings(Box<dyn Iterator<Item = &'a str> + 'a>),
}

impl<'a> Writer<'a> {
    /// Starts at the first element.
    pub(crate) fn new(tensor: &'a Tensor, text: StringForm) -> Self {
        let source = match tensor.data() {
            Data::Fixed(bytes) => ElementSource::Fixed(
                bytes.chunks_exact(tensor.dtype().element_bytes().expect("fixed width")),
            ),
            Data::Strings(strings) => ElementSource::Strings(Box::new(strings.iter())),
        };

        Self {
            dtype: tensor.dtype(),
            text,
            source,
        }
    }

    /// Appends the next `product(shape)` elements, nested by `shape`.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, shape: &[usize]) {
        let Some((length, rest)) = shape.split_first() else {
            return self.write_one(out);
        };
        out.push(b'[');
        for i in 0..*length {
            if i > 0 {
                out.push(b',');
            }
            self.write(out, rest);
        }

        out.push(b']');
    }

    fn write_one(&mut self, out: &mut Vec<u8>) {
        match &mut self.source {
            ElementSource::Fixed(chunks) => write_number(
                out,
                self.dtype,
                chunks.next().expect("shape and data agree"),
            ),
            ElementSource::Strings(strings) => {
                let string = strings.next().expect("shape and data agree");
                match self.text {
                    StringForm::Plain => write_json(out, string),
                    StringForm::Base64 => {
                        out.extend_from_slice(b"{\"b64\":\"");
                        out.extend_from_slice(STANDARD.encode(string).as_bytes());
                        out.extend_from_slice(b"\"}");
                    }
                }
            }
        }
    }
}

/// Appends a value as JSON.
pub(crate) fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a Vec takes every write and these values serialize");
}

fn write_number(out: &mut Vec<u8>, dtype: DType, bytes: &[u8]) {
    match dtype {
        DType::Bool => write_json(out, &(bytes[0] != 0)),
        DType::U8 => write_json(out, &bytes[0]),
        DType::I8 => write_json(out, &i8::from_le_bytes(fixed_bytes(bytes))),
        DType::U16 => write_json(out, &u16::from_le_bytes(fixed_bytes(bytes))),
        DType::I16 => write_json(out, &i16::from_le_bytes(fixed_bytes(bytes))),
        DType::U32 => write_json(out, &u32::from_le_bytes(fixed_bytes(bytes))),
        DType::I32 => write_json(out, &i32::from_le_bytes(fixed_bytes(bytes))),
        DType::U64 => write_json(out, &u64::from_le_bytes(fixed_bytes(bytes))),
        DType::I64 => write_json(out, &i64::from_le_bytes(fixed_bytes(bytes))),
        DType::F16 => write_f32(out, half::f16::from_le_bytes(fixed_bytes(bytes)).to_f32()),
        DType::BF16 => write_f32(out, half::bf16::from_le_bytes(fixed_bytes(bytes)).to_f32()),
        DType::F32 => write_f32(out, f32::from_le_bytes(fixed_bytes(bytes))),
        DType::F64 => {
            let value = f64::from_le_bytes(fixed_bytes(bytes));
            if value.is_finite() {
                write_json(out, &value)
            } else {
                write_token(out, value)
            }
        }
        DType::String => unreachable!("strings are not fixed-width"),
    }
}

fn write_f32(out: &mut Vec<u8>, value: f32) {
    if value.is_finite() {
        write_json(out, &value)
    } else {
        write_token(out, value.into())
    }
}

fn write_token(out: &mut Vec<u8>, value: f64) {
    let token = if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };

    out.extend_from_slice(token.as_bytes());
}

fn fixed_bytes<const W: usize>(bytes: &[u8]) -> [u8; W] {
    bytes.try_into().expect("chunks have the element's width")
}
