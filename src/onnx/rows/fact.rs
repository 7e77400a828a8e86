//! What is known about a tensor: which axis has the rows, its shape in symbols, and
//! its numbers where they are few.

use std::cell::Cell;

/// Why an operator does not keep rows apart, or why that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Rows influence each other.
    Dependent(String),
    /// The rules do not cover this use.
    Unknown(String),
}

pub(super) fn dependent<T>(reason: &str) -> Result<T, Doubt> {
    Err(Doubt::Dependent(reason.to_owned()))
}

pub(super) fn unknown<T>(reason: &str) -> Result<T, Doubt> {
    Err(Doubt::Unknown(reason.to_owned()))
}

/// A length or a whole number: a factor, times the number of rows or not, times
/// lengths of other dynamic axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Extent {
    factor: i64,
    rows: u32,
    /// Sorted; one that stands twice is squared.
    symbols: Vec<Symbol>,
}

/// A number that is the same for all rows, but not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Symbol {
    id: u32,
    /// Whether it may be negative or have a fraction.
    is_any: bool,
}

/// The most factors of an extent; a longer product is not followed.
const FACTORS_MAX: usize = 16;

impl Extent {
    pub(super) fn fixed(factor: i64) -> Self {
        Self {
            factor,
            rows: 0,
            symbols: Vec::new(),
        }
    }

    /// The number of rows.
    pub(super) fn rows() -> Self {
        Self {
            rows: 1,
            ..Self::fixed(1)
        }
    }

    pub(super) fn as_fixed(&self) -> Option<i64> {
        (self.rows == 0 && self.symbols.is_empty()).then_some(self.factor)
    }

    pub(super) fn is_one(&self) -> bool {
        self.as_fixed() == Some(1)
    }

    /// Whether it depends on the number of rows.
    pub(super) fn has_rows(&self) -> bool {
        self.rows > 0
    }

    /// Whether it can be the length of a batch axis: a multiple of the number of rows.
    pub(super) fn is_batch(&self) -> bool {
        self.rows == 1 && self.factor > 0
    }

    /// Whether its factor is at most this, without its sign.
    pub(super) fn is_within(&self, max: u64) -> bool {
        self.factor.unsigned_abs() <= max
    }

    pub(super) fn times(&self, other: &Self) -> Option<Self> {
        let factor = self.factor.checked_mul(other.factor)?;
        if factor == 0 {
            return Some(Self::fixed(0));
        }
        let mut symbols = [self.symbols.as_slice(), &other.symbols].concat();
        symbols.sort_unstable();
        let rows = self.rows.checked_add(other.rows)?;
        let factors = symbols.len() + usize::try_from(rows).ok()?;
        (factors <= FACTORS_MAX).then_some(Self {
            factor,
            rows,
            symbols,
        })
    }

    /// The quotient, if it is exact.
    pub(super) fn divided(&self, other: &Self) -> Option<Self> {
        if self.factor.checked_rem(other.factor)? != 0 {
            return None;
        }
        let mut symbols = self.symbols.clone();
        for symbol in &other.symbols {
            let at = symbols.iter().position(|s| s == symbol)?;
            symbols.remove(at);
        }
        Some(Self {
            factor: self.factor.checked_div(other.factor)?,
            rows: self.rows.checked_sub(other.rows)?,
            symbols,
        })
    }

    pub(super) fn plus(&self, other: &Self) -> Option<Self> {
        if self.factor == 0 {
            return Some(other.clone());
        }
        if other.factor == 0 {
            return Some(self.clone());
        }
        (self.rows == other.rows && self.symbols == other.symbols).then_some(())?;
        let factor = self.factor.checked_add(other.factor)?;
        if factor == 0 {
            return Some(Self::fixed(0));
        }
        Some(Self {
            factor,
            ..self.clone()
        })
    }

    pub(super) fn negative(&self) -> Option<Self> {
        self.times(&Self::fixed(-1))
    }

    /// Whether both are the same number, where that is certain. Lengths are not negative.
    pub(super) fn equals(&self, other: &Self) -> Option<bool> {
        if self == other {
            return Some(true);
        }
        match (self.as_fixed(), other.as_fixed()) {
            (Some(_), Some(_)) => Some(false),
            (Some(n), None) if n < 0 && other.is_length() => Some(false),
            (None, Some(n)) if n < 0 && self.is_length() => Some(false),
            _ => None,
        }
    }

    /// Whether it is certainly a whole number of at least 0.
    fn is_length(&self) -> bool {
        self.factor >= 0 && self.is_whole()
    }

    /// Whether nothing but the number of rows is unknown in it.
    pub(super) fn is_certain(&self) -> bool {
        self.symbols.is_empty()
    }

    /// Whether it is certainly a whole number.
    pub(super) fn is_whole(&self) -> bool {
        self.symbols.iter().all(|symbol| !symbol.is_any)
    }
}

/// Multiplies lengths.
pub(super) fn product(extents: &[Extent]) -> Option<Extent> {
    extents
        .iter()
        .try_fold(Extent::fixed(1), |all, extent| all.times(extent))
}

/// Hands out names for numbers that are the same for all rows, but not known.
#[derive(Default)]
pub(super) struct Symbols(Cell<u32>);

impl Symbols {
    /// An unknown length.
    pub(super) fn fresh(&self) -> Extent {
        self.symbol(false)
    }

    /// An unknown number, which may be negative or have a fraction.
    pub(super) fn any(&self) -> Extent {
        self.symbol(true)
    }

    fn symbol(&self, is_any: bool) -> Extent {
        let id = self.0.get().wrapping_add(1);
        self.0.set(id);
        Extent {
            factor: 1,
            rows: 0,
            symbols: vec![Symbol { id, is_any }],
        }
    }
}

/// What is known about a tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fact {
    /// The axis along which blocks of equal length belong to one row each. None: the
    /// tensor is the same whatever the rows contain.
    pub axis: Option<usize>,
    /// The shape, where the rank is known. The length of the batch axis is a multiple of the
    /// number of rows.
    pub dims: Option<Vec<Extent>>,
    /// The elements, where they are few whole numbers. Only a tensor without a batch
    /// axis has them.
    pub numbers: Option<Vec<Extent>>,
}

impl Fact {
    /// A tensor that is the same for all rows.
    pub(super) fn uniform(dims: Option<Vec<Extent>>) -> Self {
        Self {
            dims,
            ..Self::default()
        }
    }

    /// A tensor of this shape, with its batch axis if it has one.
    pub(super) fn of(axis: Option<usize>, dims: Vec<Extent>) -> Self {
        Self {
            axis,
            dims: Some(dims),
            numbers: None,
        }
    }

    /// A tensor whose batch axis is the one whose length depends on the number of rows.
    pub(super) fn shaped(dims: Vec<Extent>) -> Result<Self, Doubt> {
        let axes: Vec<usize> = (0..dims.len()).filter(|at| dims[*at].has_rows()).collect();
        match axes[..] {
            [] => Ok(Self::of(None, dims)),
            [axis] if dims[axis].is_batch() => Ok(Self::of(Some(axis), dims)),
            _ => dependent("the number of rows sets the length of more than one axis"),
        }
    }

    /// Whether its numbers depend on the number of rows.
    pub(super) fn counts_rows(&self) -> bool {
        let mut numbers = self.numbers.iter().flatten();
        numbers.any(Extent::has_rows)
    }

    /// Whether it may have so many elements.
    pub(super) fn holds(&self, count: usize) -> bool {
        let elements = self.dims.as_deref().and_then(product);
        let fixed = elements.and_then(|n| n.as_fixed());
        fixed.is_none_or(|n| i64::try_from(count).is_ok_and(|count| count == n))
    }

    pub(super) fn dims(&self) -> Result<&[Extent], Doubt> {
        match &self.dims {
            Some(dims) => Ok(dims),
            None => unknown("the shape of an input is not known"),
        }
    }

    pub(super) fn rank(&self) -> Result<usize, Doubt> {
        Ok(self.dims()?.len())
    }

    /// Its whole numbers, which the file must contain.
    pub(super) fn fixed_numbers(&self) -> Result<Vec<i64>, Doubt> {
        let numbers = self.numbers.iter().flatten().map(Extent::as_fixed);
        match numbers.collect::<Option<Vec<i64>>>() {
            Some(numbers) if self.numbers.is_some() => Ok(numbers),
            _ => unknown("an input that selects axes is not a constant"),
        }
    }

    /// Whether it is certain that it has one element, the same for all rows.
    pub(super) fn is_single(&self) -> bool {
        self.axis.is_none()
            && self
                .dims
                .as_ref()
                .is_some_and(|d| d.iter().all(Extent::is_one))
    }
}

/// Counts an axis from the front.
pub(super) fn from_front(axis: i64, rank: usize) -> Result<usize, Doubt> {
    let length = rank as i64;
    let at = if axis < 0 {
        axis.saturating_add(length)
    } else {
        axis
    };
    match usize::try_from(at) {
        Ok(at) if at < rank => Ok(at),
        _ => unknown("an axis is out of range"),
    }
}
