//! Stacks tensors along axis 0 and splits the result again. Pure. The buffer is
//! the caller's, so that a lane can reuse it; it is 16-byte aligned.

use super::padding::Lengthening;
use super::{DType, Data, Strings, Tensor, View, ViewData};
use crate::core::error::{Error, Result};

/// A reusable, aligned buffer for one stacked input.
#[derive(Default)]
pub(crate) struct Stack {
    shape: Vec<usize>,
    dtype: Option<DType>,
    words: Vec<u128>,
    bytes: usize,
    strings: Strings,
}

/// Buffers above this size are given back after a batch instead of kept.
const KEEP_BYTES_MAX: usize = 4 << 20;

impl Stack {
    /// Copies `parts`, which agree in datatype and in every axis but the first.
    pub(crate) fn fill<'t>(&mut self, parts: impl Iterator<Item = &'t Tensor> + Clone) {
        let first = parts
            .clone()
            .next()
            .expect("a batch has at least one member");
        self.shape.clear();

        self.shape.extend_from_slice(first.shape());
        self.shape[0] = parts.clone().map(|t| t.shape()[0]).sum();
        self.dtype = Some(first.dtype());
        if first.dtype() == DType::String {
            let all = parts.filter_map(|t| match t.data() {
                Data::Strings(strings) => Some(strings.iter()),
                Data::Fixed(_) => None,
            });
            self.strings = Strings::from_parts(all.flatten())
                .expect("each string was checked when it arrived");
            return;
        }

        let mut rest = self.room(parts.clone().map(Tensor::bytes).sum());
        for part in parts {
            if let Data::Fixed(bytes) = part.data() {
                let (here, after) = rest.split_at_mut(bytes.len());
                here.copy_from_slice(bytes);
                rest = after;
            }
        }
    }

    /// Copies `parts`, and then the last row again and again, up to `rows` rows.
    pub(crate) fn fill_up<'t>(
        &mut self,
        parts: impl Iterator<Item = &'t Tensor> + Clone,
        rows: usize,
    ) -> Result<()> {
        let total: usize = parts.clone().filter_map(Tensor::rows).sum();
        let with_rows = parts.clone().filter(|part| part.rows() > Some(0));
        let last = match total < rows {
            true => with_rows.last(),
            // As most batches: they are not walked once more.
            false => None,
        };
        let Some(last) = last else {
            self.fill(parts);
            return Ok(());
        };

        let before = last.rows().unwrap_or(1) - 1;
        let row = split(last, &[before, 1])?.swap_remove(1);
        // As references of one lifetime.
        let parts = parts.map(|part: &Tensor| part);
        self.fill(parts.chain(std::iter::repeat_n(&row, rows - total)));
        Ok(())
    }

    /// Copies `parts` of fixed-width elements, each lengthened along an axis after the first.
    pub(crate) fn fill_lengthened<'t>(
        &mut self,
        parts: impl Iterator<Item = &'t Tensor> + Clone,
        how: Lengthening<'_>,
    ) {
        let first = parts.clone().next();
        let first = first.expect("a batch has at least one member");
        self.shape = how.shape(first.shape());
        self.shape[0] = parts.clone().map(|t| t.shape()[0]).sum();
        self.dtype = Some(first.dtype());

        let mut rest = self.room(parts.clone().map(|part| how.bytes(part)).sum());
        for part in parts {
            rest = how.write(part, rest);
        }
    }

    /// Makes room for so many bytes.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.bytes = bytes;
        let words = bytes.div_ceil(size_of::<u128>());
        let kept_bytes = self.words.capacity() * size_of::<u128>();
        if kept_bytes > KEEP_BYTES_MAX && bytes < KEEP_BYTES_MAX {
            self.words = Vec::new();
        }
        self.words.resize(words, 0);
        &mut bytemuck::cast_slice_mut::<u128, u8>(&mut self.words)[..bytes]
    }

    /// Views what [`Stack::fill`] put here.
    pub(crate) fn view(&self) -> View<'_> {
        let dtype = self.dtype.expect("filled before it is viewed");
        let data = match dtype {
            DType::String => ViewData::Strings(&self.strings),
            _ => ViewData::Fixed(&bytemuck::cast_slice::<u128, u8>(&self.words)[..self.bytes]),
        };
        View {
            dtype,
            shape: &self.shape,
            data,
        }
    }
}

/// Stacks so many copies of a tensor.
pub(crate) fn repeated(tensor: &Tensor, times: usize) -> Result<Tensor> {
    let mut shape = tensor.shape().to_vec();
    let rows = shape.first_mut();
    let rows = rows.ok_or_else(|| Error::invalid("a tensor without axes has no rows"))?;
    *rows *= times;
    match tensor.data() {
        Data::Fixed(bytes) => Tensor::fixed(tensor.dtype(), shape, bytes.repeat(times).into()),
        Data::Strings(strings) => {
            let copies = (0..times).flat_map(|_| strings.iter());
            Tensor::strings(shape, Strings::from_parts(copies)?)
        }
    }
}

/// Joins tensors along axis 0. Refuses tensors that differ in more than their rows.
pub(crate) fn join(parts: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = parts.first() else {
        return Err(Error::internal("nothing is joined"));
    };
    let inner = |tensor: &Tensor| tensor.shape().get(1..).map(<[usize]>::to_vec);
    let is_like = |part: &&Tensor| part.dtype() == first.dtype() && inner(part) == inner(first);
    if inner(first).is_none() || !parts.iter().all(is_like) {
        return Err(Error::precondition(
            "differ in more than their rows; send fewer rows in a request",
        ));
    }

    let mut shape = first.shape().to_vec();
    shape[0] = parts.iter().filter_map(|part| part.rows()).sum();
    if first.dtype() == DType::String {
        let all = parts.iter().filter_map(|part| match part.data() {
            Data::Strings(strings) => Some(strings.iter()),
            Data::Fixed(_) => None,
        });
        return Tensor::strings(shape, Strings::from_parts(all.flatten())?);
    }
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.bytes()).sum());
    for part in parts {
        if let Data::Fixed(own) = part.data() {
            bytes.extend_from_slice(own);
        }
    }
    Tensor::fixed(first.dtype(), shape, bytes.into())
}

/// Cuts `tensor` along axis 0 into parts of `rows`, without copying fixed-width
/// elements. Refuses an axis that is not the sum of `rows`.
pub fn split(tensor: &Tensor, rows: &[usize]) -> Result<Vec<Tensor>> {
    let total: usize = rows.iter().sum();
    if tensor.rows() != Some(total) {
        return Err(Error::internal(format!(
            "the model returned shape {:?} for a batch of {total} rows",
            tensor.shape()
        )));
    }

    let per_row = |len: usize| len.checked_div(total).unwrap_or(0);
    let mut at = 0;
    let mut parts = Vec::with_capacity(rows.len());
    for n in rows {
        let mut shape = tensor.shape().to_vec();
        shape[0] = *n;
        let data = match tensor.data() {
            Data::Fixed(bytes) => {
                let row = per_row(bytes.len());
                Data::Fixed(bytes.slice(at * row..(at + n) * row))
            }
            Data::Strings(strings) => {
                let row = per_row(strings.len());
                Data::Strings(strings.slice(at * row..(at + n) * row))
            }
        };
        parts.push(Tensor {
            dtype: tensor.dtype(),
            shape,
            data,
        });
        at += n;
    }

    Ok(parts)
}
