//! Tensor elements in JSON: parsed straight into the bytes of a datatype, and
//! written back. No tree of values in between. Pure.

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::tensor::{DType, Data, Strings, Tensor};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Arrays inside arrays; deeper ones are refused.
pub(crate) const DEPTH_MAX: usize = 64;

/// Parses a body that must be one JSON object; a list of its values is not one.
pub(crate) fn object<'b, T: serde::Deserialize<'b>>(body: &'b [u8], what: &str) -> Result<T> {
    let refused = |why: String| Error::invalid(format!("the body is not {what}: {why}"));
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(refused("it is no JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|e| refused(e.to_string()))
}

/// Elements as they were nested.
#[derive(Debug)]
pub(crate) struct Elements {
    /// The nesting: empty for a bare value.
    pub shape: Vec<usize>,
    dtype: DType,
    bytes: Vec<u8>,
    strings: Vec<Vec<u8>>,
}

impl Elements {
    /// Parses nested arrays of one datatype. Refuses ragged nesting and every
    /// value the datatype cannot hold exactly, save for rounding to a float.
    pub(crate) fn parse(json: &RawValue, dtype: DType) -> Result<Self> {
        let mut all = Self::empty(dtype);
        all.add(json)?;
        Ok(all)
    }

    /// Parses rows, which must agree in shape, and stacks them.
    pub(crate) fn stack<'r>(rows: impl Iterator<Item = &'r RawValue>, dtype: DType) -> Result<Self> {
        let mut all = Self::empty(dtype);
        let (mut count, mut shape) = (0, None);
        for row in rows {
            let mut one = Self::empty(dtype);
            one.add(row)?;
            if *shape.get_or_insert_with(|| one.shape.clone()) != one.shape {
                return Err(Error::invalid(format!("row {count} is nested otherwise than row 0")));
            }
            all.bytes.append(&mut one.bytes);
            all.strings.append(&mut one.strings);
            count += 1;
        }
        all.shape = std::iter::once(count).chain(shape.unwrap_or_default()).collect();
        Ok(all)
    }

    /// Builds the tensor in another shape of as many elements, or its own.
    pub(crate) fn into_tensor(self, shape: Vec<usize>) -> Result<Tensor> {
        match self.dtype {
            DType::String => Tensor::strings(shape, Strings::from_parts(self.strings)?),
            dtype => Tensor::fixed(dtype, shape, self.bytes.into()),
        }
    }

    fn empty(dtype: DType) -> Self {
        Self { shape: Vec::new(), dtype, bytes: Vec::new(), strings: Vec::new() }
    }

    fn add(&mut self, json: &RawValue) -> Result<()> {
        if matches!(self.dtype, DType::F16 | DType::BF16) {
            return Err(Error::invalid(format!("{} has no JSON form; use the binary tensor extension", self.dtype)));
        }
        let mut nest = Nest { into: self, lengths: Vec::new(), leaf: None };
        let mut parser = serde_json::Deserializer::from_str(json.get());
        Level { nest: &mut nest, depth: 0 }.deserialize(&mut parser).map_err(|e| Error::invalid(e.to_string()))?;
        let lengths = std::mem::take(&mut nest.lengths);
        self.shape = lengths.into_iter().map(|l| l.unwrap_or(0)).collect();
        Ok(())
    }

    fn whole(&mut self, value: i128) -> Option<()> {
        macro_rules! put {
            ($t:ty) => {
                self.bytes.extend_from_slice(&<$t>::try_from(value).ok()?.to_le_bytes())
            };
        }
        match self.dtype {
            DType::U8 => put!(u8),
            DType::U16 => put!(u16),
            DType::U32 => put!(u32),
            DType::U64 => put!(u64),
            DType::I8 => put!(i8),
            DType::I16 => put!(i16),
            DType::I32 => put!(i32),
            DType::I64 => put!(i64),
            DType::F32 | DType::F64 => return self.fraction(value as f64),
            DType::Bool | DType::F16 | DType::BF16 | DType::String => return None,
        }
        Some(())
    }

    fn fraction(&mut self, value: f64) -> Option<()> {
        match self.dtype {
            DType::F32 => {
                let rounded = value as f32;
                rounded.is_finite().then(|| self.bytes.extend_from_slice(&rounded.to_le_bytes()))
            }
            DType::F64 => Some(self.bytes.extend_from_slice(&value.to_le_bytes())),
            _ => None,
        }
    }
}

/// The nesting seen so far.
struct Nest<'e> {
    into: &'e mut Elements,
    /// The length of the arrays at each depth.
    lengths: Vec<Option<usize>>,
    /// The depth of the values.
    leaf: Option<usize>,
}

struct Level<'n, 'e> {
    nest: &'n mut Nest<'e>,
    depth: usize,
}

impl Level<'_, '_> {
    fn leaf<E: serde::de::Error>(&mut self, fits: Option<()>, what: fmt::Arguments<'_>) -> Result<(), E> {
        if *self.nest.leaf.get_or_insert(self.depth) != self.depth || self.nest.lengths.len() > self.depth {
            return Err(E::custom("the nesting is ragged"));
        }
        fits.ok_or_else(|| E::custom(format_args!("{what} is not a value of {}", self.nest.into.dtype)))
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "values of {}, nested in arrays", self.nest.into.dtype)
    }

    fn visit_bool<E: serde::de::Error>(mut self, value: bool) -> Result<(), E> {
        let fits = (self.nest.into.dtype == DType::Bool).then(|| self.nest.into.bytes.push(u8::from(value)));
        self.leaf(fits, format_args!("{value}"))
    }

    fn visit_u64<E: serde::de::Error>(mut self, value: u64) -> Result<(), E> {
        let fits = self.nest.into.whole(i128::from(value));
        self.leaf(fits, format_args!("{value}"))
    }

    fn visit_i64<E: serde::de::Error>(mut self, value: i64) -> Result<(), E> {
        let fits = self.nest.into.whole(i128::from(value));
        self.leaf(fits, format_args!("{value}"))
    }

    fn visit_f64<E: serde::de::Error>(mut self, value: f64) -> Result<(), E> {
        let fits = self.nest.into.fraction(value);
        self.leaf(fits, format_args!("{value}"))
    }

    fn visit_str<E: serde::de::Error>(mut self, value: &str) -> Result<(), E> {
        let is_string = self.nest.into.dtype == DType::String;
        let fits = is_string.then(|| self.nest.into.strings.push(value.as_bytes().to_vec()));
        self.leaf(fits, format_args!("a string"))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let entry: Option<(String, String)> = map.next_entry()?;
        let (Some((key, value)), None) = (entry, map.next_key::<String>()?) else {
            return Err(A::Error::custom("an object here must be {\"b64\": text}"));
        };
        if key != "b64" || self.nest.into.dtype != DType::String {
            return Err(A::Error::custom("an object here must be {\"b64\": text}, for strings only"));
        }
        let bytes = STANDARD.decode(value).map_err(|_| A::Error::custom("the text of b64 is not base64"))?;
        self.nest.into.strings.push(bytes);
        self.leaf(Some(()), format_args!("b64"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Level { nest, depth } = self;
        if depth >= DEPTH_MAX {
            return Err(A::Error::custom(format_args!("arrays are nested deeper than {DEPTH_MAX}")));
        }
        if nest.leaf.is_some_and(|leaf| depth >= leaf) {
            return Err(A::Error::custom("the nesting is ragged"));
        }
        if nest.lengths.len() <= depth {
            nest.lengths.push(None);
        }
        let mut count = 0;
        while seq.next_element_seed(Level { nest: &mut *nest, depth: depth + 1 })?.is_some() {
            count += 1;
        }
        if *nest.lengths[depth].get_or_insert(count) != count {
            return Err(A::Error::custom("the nesting is ragged"));
        }
        Ok(())
    }
}

/// Writes a tensor's elements as JSON, flat or nested to its shape. Floats are
/// the shortest text that reads back as the same value; those that are not
/// finite are the tokens NaN, Infinity and -Infinity, as the peers write them.
pub(crate) fn write_elements(out: &mut Vec<u8>, tensor: &Tensor, nested: bool) {
    let flat = [tensor.shape().iter().product()];
    let shape = if nested { tensor.shape() } else { &flat };
    match tensor.data() {
        Data::Strings(strings) => {
            let all: Vec<&str> = strings.iter().collect();
            write_level(out, shape, &mut 0, &|out, i| json_string(out, all[i]));
        }
        Data::Fixed(bytes) => write_fixed(out, tensor.dtype(), bytes, shape),
    }
}

fn write_fixed(out: &mut Vec<u8>, dtype: DType, bytes: &[u8], shape: &[usize]) {
    macro_rules! each {
        ($t:ty, $write:expr) => {{
            let all = bytes.as_chunks::<{ size_of::<$t>() }>().0;
            write_level(out, shape, &mut 0, &|out, i| $write(out, <$t>::from_le_bytes(all[i])))
        }};
    }
    match dtype {
        DType::Bool => write_level(out, shape, &mut 0, &|out, i| {
            out.extend_from_slice(if bytes[i] == 0 { b"false" } else { b"true" });
        }),
        DType::U8 => each!(u8, number),
        DType::U16 => each!(u16, number),
        DType::U32 => each!(u32, number),
        DType::U64 => each!(u64, number),
        DType::I8 => each!(i8, number),
        DType::I16 => each!(i16, number),
        DType::I32 => each!(i32, number),
        DType::I64 => each!(i64, number),
        DType::F32 => each!(f32, |out: &mut Vec<u8>, v: f32| match token(f64::from(v)) {
            Some(token) => out.extend_from_slice(token),
            None => number(out, v),
        }),
        DType::F64 => each!(f64, |out: &mut Vec<u8>, v: f64| match token(v) {
            Some(token) => out.extend_from_slice(token),
            None => number(out, v),
        }),
        DType::F16 => each!(u16, |out: &mut Vec<u8>, v: u16| half(out, half::f16::from_bits(v).to_f32())),
        DType::BF16 => each!(u16, |out: &mut Vec<u8>, v: u16| half(out, half::bf16::from_bits(v).to_f32())),
        DType::String => {}
    }
}

fn half(out: &mut Vec<u8>, value: f32) {
    match token(f64::from(value)) {
        Some(token) => out.extend_from_slice(token),
        None => number(out, value),
    }
}

fn token(value: f64) -> Option<&'static [u8]> {
    match value {
        v if v.is_nan() => Some(b"NaN"),
        f64::INFINITY => Some(b"Infinity"),
        f64::NEG_INFINITY => Some(b"-Infinity"),
        _ => None,
    }
}

fn number<T: serde::Serialize>(out: &mut Vec<u8>, value: T) {
    serde_json::to_writer(out, &value).expect("a number is written to memory");
}

/// Writes a JSON string.
pub(crate) fn json_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is written to memory");
}

/// Writes `[…]` to the depth of `shape`; `write` is given the element's place.
pub(crate) fn write_level(out: &mut Vec<u8>, shape: &[usize], at: &mut usize, write: &dyn Fn(&mut Vec<u8>, usize)) {
    let Some((count, inner)) = shape.split_first() else {
        write(out, *at);
        *at += 1;
        return;
    };
    out.push(b'[');
    for i in 0..*count {
        if i > 0 {
            out.push(b',');
        }
        write_level(out, inner, at, write);
    }
    out.push(b']');
}
