//! Asks the processor for memory that is needed soon. The rows of a leaf lie apart, and waiting for each takes
//! longer than what is done with it.

/// How many rows before its use a row is fetched.
pub(crate) const AHEAD: usize = 12;

/// Asks for the memory of an element; nothing on other processors.
#[inline]
pub(crate) fn fetch_soon<T>(all: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(wanted) = all.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that a program sees, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(wanted).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (all, at);
}
