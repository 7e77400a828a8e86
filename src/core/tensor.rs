//! A tensor: datatype, shape, and row-major little-endian bytes or strings. That
//! they fit each other is checked once, at construction. Conversions to wire
//! formats belong to the protocols.

pub mod batch;
pub mod compare;
pub(crate) mod json;
pub mod padding;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use bytes::Bytes;
use std::fmt;

/// The datatypes of the Open Inference Protocol that ONNX Runtime supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, one byte.
    U8,
    /// Unsigned, two bytes.
    U16,
    /// Unsigned, four bytes.
    U32,
    /// Unsigned, eight bytes.
    U64,
    /// Signed, one byte.
    I8,
    /// Signed, two bytes.
    I16,
    /// Signed, four bytes.
    I32,
    /// Signed, eight bytes.
    I64,
    /// IEEE half precision.
    F16,
    /// The upper half of an FP32.
    BF16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Strings of any bytes. ONNX means UTF-8.
    String,
}

impl DType {
    /// Every datatype.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F16,
        Self::BF16,
        Self::F32,
        Self::F64,
        Self::String,
    ];

    /// Returns the protocol's name, such as `FP32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "UINT8",
            Self::U16 => "UINT16",
            Self::U32 => "UINT32",
            Self::U64 => "UINT64",
            Self::I8 => "INT8",
            Self::I16 => "INT16",
            Self::I32 => "INT32",
            Self::I64 => "INT64",
            Self::F16 => "FP16",
            Self::BF16 => "BF16",
            Self::F32 => "FP32",
            Self::F64 => "FP64",
            Self::String => "BYTES",
        }
    }

    /// Reads a name. Refuses an unknown one with the names that there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::from_name(name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            Error::invalid(format!(
                "datatype '{}' is unknown; use one of {}",
                crate::core::error::short(name),
                names.join(", ")
            ))
        })
    }

    /// Finds a datatype by the protocol's name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Tells whether its values are integers.
    pub fn is_integer(self) -> bool {
        let is_unsigned = matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::U64);
        is_unsigned || matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    /// Returns the bytes of one element; `None` for strings.
    pub fn element_bytes(self) -> Option<usize> {
        Some(match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::String => return None,
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The highest rank accepted.
pub const RANK_MAX: usize = 16;

/// The number of elements of a shape; `None` if it overflows.
pub fn elements(shape: &[usize]) -> Option<usize> {
    // A zero dimension makes the product zero, even if the others would overflow.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))
}

/// Reads little-endian elements; bytes of a part of one are left out.
pub(crate) fn read_all<T, const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|b| read(*b)).collect()
}

/// Checks the dimensions a client sent: rank at most [`RANK_MAX`], none
/// negative, product within the address space.
pub fn shape_from_wire(dims: &[i64]) -> Result<Vec<usize>> {
    if dims.len() > RANK_MAX {
        return Err(Error::invalid(format!(
            "rank {} is over the limit of {RANK_MAX}",
            dims.len()
        )));
    }

    let mut shape = Vec::with_capacity(dims.len());
    for dim in dims {
        shape.push(usize::try_from(*dim).map_err(|_| {
            Error::invalid(format!("dimension {dim} in shape {dims:?} is negative"))
        })?);
    }

    match elements(&shape) {
        Some(n)
            if n.checked_mul(8)
                .is_some_and(|bytes| bytes <= isize::MAX as usize) =>
        {
            Ok(shape)
        }
        _ => Err(Error::invalid(format!("shape {dims:?} overflows"))),
    }
}

/// Strings back to back in one buffer.
#[derive(Clone, Debug, Default)]
pub struct Strings {
    buffer: Bytes,
    /// Start and end of each string in the buffer.
    spans: Vec<(u32, u32)>,
}

/// Equal if the strings are the same in the same order, wherever they are in the
/// buffer.
impl PartialEq for Strings {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Strings {
    /// Reads the raw wire form: a little-endian u32 length before each string.
    pub fn from_prefixed(buffer: Bytes) -> Result<Self> {
        let total =
            u32::try_from(buffer.len()).map_err(|_| Error::invalid("string data is over 4 GiB"))?;
        let mut spans = Vec::new();
        let mut at = 0_u32;
        while at < total {
            let prefix = buffer.get(at as usize..at as usize + 4).ok_or_else(|| {
                Error::invalid(format!("string {} lacks its 4-byte length", spans.len()))
            })?;
            let len = u32::from_le_bytes(prefix.try_into().expect("the slice is four bytes long"));
            let start = at + 4;
            let end = start
                .checked_add(len)
                .filter(|end| *end <= total)
                .ok_or_else(|| {
                    Error::invalid(format!(
                        "string {} of {len} bytes reaches beyond the {total} bytes sent",
                        spans.len()
                    ))
                })?;
            spans.push((start, end));
            at = end;
        }

        Ok(Self { buffer, spans })
    }

    /// Takes strings back to back, of which each begins at one of `starts` and ends where the next one begins.
    pub(crate) fn from_starts(buffer: Bytes, starts: &[usize]) -> Result<Self> {
        let total =
            u32::try_from(buffer.len()).map_err(|_| Error::invalid("string data is over 4 GiB"))?;
        let ends = starts.iter().skip(1).copied().chain([buffer.len()]);
        let spans: Option<Vec<(u32, u32)>> = starts
            .iter()
            .zip(ends)
            .map(|(start, end)| {
                let (start, end) = (u32::try_from(*start).ok()?, u32::try_from(end).ok()?);
                (start <= end && end <= total).then_some((start, end))
            })
            .collect();
        let spans = spans.ok_or_else(|| Error::internal("strings begin beyond their data"))?;
        Ok(Self { buffer, spans })
    }

    /// Copies strings into one buffer.
    pub fn from_parts<S: AsRef<[u8]>>(parts: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut buffer = Vec::new();
        let mut spans = Vec::new();
        for part in parts {
            let start = buffer.len();
            buffer.extend_from_slice(part.as_ref());
            if u32::try_from(buffer.len()).is_err() {
                return Err(Error::invalid("string data is over 4 GiB"));
            }
            spans.push((start as u32, buffer.len() as u32));
        }

        Ok(Self {
            buffer: buffer.into(),
            spans,
        })
    }

    /// Counts the strings.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Iterates in row-major order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let spans = self.spans.iter();
        spans.map(|(start, end)| &self.buffer[*start as usize..*end as usize])
    }

    /// Iterates in row-major order over the strings as text. One that is not UTF-8 is the replacement
    /// character.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.iter()
            .map(|string| str::from_utf8(string).unwrap_or("\u{fffd}"))
    }

    /// Finds the first string that is not UTF-8.
    pub(crate) fn find_no_text(&self) -> Option<usize> {
        self.iter()
            .position(|string| str::from_utf8(string).is_err())
    }

    /// Writes the raw wire form.
    pub fn to_prefixed(&self) -> Bytes {
        let mut out =
            Vec::with_capacity(self.spans.iter().map(|(s, e)| 4 + (e - s) as usize).sum());
        for string in self.iter() {
            out.extend_from_slice(&(string.len() as u32).to_le_bytes());
            out.extend_from_slice(string);
        }

        out.into()
    }

    fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self {
            buffer: self.buffer.clone(),
            spans: self.spans[range].to_vec(),
        }
    }

    fn bytes(&self) -> usize {
        self.spans
            .iter()
            .map(|(s, e)| (e - s) as usize)
            .sum::<usize>()
            + self.spans.len() * size_of::<(u32, u32)>()
    }
}

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Fixed-width elements, little-endian, row-major, without padding. The
    /// start need not be aligned.
    Fixed(Bytes),
    /// Strings.
    Strings(Strings),
}

/// Tensors with their names, in an order that means something to their owner.
pub type NamedTensors = Vec<(String, Tensor)>;

/// A value: datatype, shape and elements that agree with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

/// Refuses a number of bytes that a tensor of fixed-width elements does not have.
pub(crate) fn check_bytes(dtype: DType, shape: &[usize], bytes: u64) -> Result<()> {
    let width = dtype
        .element_bytes()
        .ok_or_else(|| Error::invalid("BYTES data must be strings"))?;
    let want = elements(shape)
        .and_then(|n| n.checked_mul(width))
        .ok_or_else(|| Error::invalid(format!("shape {shape:?} overflows")))?;
    match bytes == want as u64 {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "shape {shape:?} of {dtype} takes {want} bytes, got {bytes}"
        ))),
    }
}

impl Tensor {
    /// Builds a tensor of fixed-width elements. Refuses a byte count that is
    /// not `product(shape) × element size`, and a BOOL byte other than 0 or 1.
    pub fn fixed(dtype: DType, shape: Vec<usize>, bytes: Bytes) -> Result<Self> {
        check_bytes(dtype, &shape, bytes.len() as u64)?;

        if dtype == DType::Bool
            && let Some(i) = bytes.iter().position(|b| *b > 1)
        {
            return Err(Error::invalid(format!(
                "BOOL element {i} is {}, neither 0 nor 1",
                bytes[i]
            )));
        }

        Ok(Self {
            dtype,
            shape,
            data: Data::Fixed(bytes),
        })
    }

    /// Builds a tensor of strings. Refuses a count that is not `product(shape)`.
    pub fn strings(shape: Vec<usize>, strings: Strings) -> Result<Self> {
        if elements(&shape) != Some(strings.len()) {
            return Err(Error::invalid(format!(
                "shape {shape:?} takes {} strings, got {}",
                elements(&shape).unwrap_or(usize::MAX),
                strings.len()
            )));
        }

        Ok(Self {
            dtype: DType::String,
            shape,
            data: Data::Strings(strings),
        })
    }

    /// Builds an FP32 tensor.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<Self> {
        Self::fixed(
            DType::F32,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// The datatype.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
    /// The dimensions; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// Floating-point elements as FP64; `None` for other datatypes.
    pub(crate) fn floats(&self) -> Option<Vec<f64>> {
        let Data::Fixed(bytes) = &self.data else {
            return None;
        };
        Some(match self.dtype {
            DType::F16 => read_all(bytes, |b| half::f16::from_le_bytes(b).into()),
            DType::BF16 => read_all(bytes, |b| half::bf16::from_le_bytes(b).into()),
            DType::F32 => read_all(bytes, |b| f32::from_le_bytes(b).into()),
            DType::F64 => read_all(bytes, f64::from_le_bytes),
            _ => return None,
        })
    }
    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }
    /// The same elements in another shape. Refuses one of another number of elements.
    pub(crate) fn reshaped(&self, shape: Vec<usize>) -> Result<Self> {
        match elements(&shape) == elements(&self.shape) {
            true => Ok(Self {
                dtype: self.dtype,
                shape,
                data: self.data.clone(),
            }),
            false => Err(Error::internal(format!(
                "shape {:?} is not one of {shape:?}",
                self.shape
            ))),
        }
    }

    /// Rows along axis 0; `None` for a scalar.
    pub fn rows(&self) -> Option<usize> {
        self.shape.first().copied()
    }
    /// The memory the elements take.
    pub fn bytes(&self) -> usize {
        match &self.data {
            Data::Fixed(bytes) => bytes.len(),
            Data::Strings(strings) => strings.bytes(),
        }
    }
    /// Writes the raw wire form; free of copies for fixed-width elements.
    pub fn to_raw(&self) -> Bytes {
        match &self.data {
            Data::Fixed(bytes) => bytes.clone(),
            Data::Strings(strings) => strings.to_prefixed(),
        }
    }
    /// Reads the raw wire form of `dtype`.
    pub fn from_raw(dtype: DType, shape: Vec<usize>, raw: Bytes) -> Result<Self> {
        match dtype {
            DType::String => Self::strings(shape, Strings::from_prefixed(raw)?),
            _ => Self::fixed(dtype, shape, raw),
        }
    }
    /// Views the tensor.
    pub fn view(&self) -> View<'_> {
        let data = match &self.data {
            Data::Fixed(bytes) => ViewData::Fixed(bytes),
            Data::Strings(strings) => ViewData::Strings(strings),
        };
        View {
            dtype: self.dtype,
            shape: &self.shape,
            data,
        }
    }
}

/// A borrowed tensor: what a session runs on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The datatype.
    pub dtype: DType,
    /// The dimensions.
    pub shape: &'a [usize],
    /// The elements.
    pub data: ViewData<'a>,
}

/// Borrowed elements.
#[derive(Clone, Copy, Debug)]
pub enum ViewData<'a> {
    /// Fixed-width elements; the start need not be aligned.
    Fixed(&'a [u8]),
    /// Strings.
    Strings(&'a Strings),
}
