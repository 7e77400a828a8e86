//! Strings of a tensor to ONNX Runtime and back, through the C interface: `ort` takes and gives UTF-8 without NUL
//! only, and copies each string twice. A string holds any bytes.

use crate::core::error::{Error, Result};
use crate::core::tensor::Strings;
use ort::AsPointer;
use ort::memory::Allocator;
use ort::sys::ONNXTensorElementDataType;
use ort::value::DynValue;
use std::ffi::c_char;
use std::ptr::{NonNull, null_mut};

/// Copies strings into a new value of ONNX Runtime.
pub(super) fn to_value(shape: &[usize], strings: &Strings) -> ort::Result<DynValue> {
    let shape: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
    let allocator = Allocator::default();
    let mut made = null_mut();
    // SAFETY: the allocator lives as long as the process, the shape has as many elements as its number
    // says, and `made` is written once.
    let status = unsafe {
        (ort::api().CreateTensorAsOrtValue)(
            allocator.ptr().cast_mut(),
            shape.as_ptr(),
            shape.len(),
            ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
            &mut made,
        )
    };
    // SAFETY: the status comes from the call above and is used once.
    unsafe { ort::Error::result_from_status(status) }?;
    let made = NonNull::new(made).ok_or_else(|| ort::Error::new("no tensor was made"))?;
    // SAFETY: the call made this value, and nothing else owns it.
    let value = unsafe { DynValue::from_ptr(made, Some(&allocator)) };

    for (at, string) in strings.iter().enumerate() {
        let mut room: *mut c_char = null_mut();
        // SAFETY: the value is a tensor of strings, with one for each of `strings`: both have the
        // number of elements of the same shape. It is not shared yet.
        let status = unsafe {
            (ort::api().GetResizedStringTensorElementBuffer)(
                made.as_ptr(),
                at,
                string.len(),
                &mut room,
            )
        };
        // SAFETY: the status comes from the call above and is used once.
        unsafe { ort::Error::result_from_status(status) }?;
        if !room.is_null() {
            // SAFETY: the call gave room for exactly so many bytes, which belong to the new value.
            unsafe {
                std::ptr::copy_nonoverlapping(string.as_ptr(), room.cast(), string.len());
            }
        }
    }

    Ok(value)
}

/// Copies the strings of a tensor of `count` strings.
pub(super) fn from_value(value: &DynValue, count: usize) -> Result<Strings> {
    if count == 0 {
        return Ok(Strings::default());
    }
    let unfit = |e: ort::Error| Error::internal("read an output").with_source(e.to_string());
    let mut total = 0;
    // SAFETY: the value is a tensor of strings; the number is written once.
    let status = unsafe { (ort::api().GetStringTensorDataLength)(value.ptr(), &mut total) };
    // SAFETY: the status comes from the call above and is used once.
    unsafe { ort::Error::result_from_status(status) }.map_err(unfit)?;

    let mut buffer = vec![0_u8; total];
    let mut starts = vec![0_usize; count];
    // SAFETY: both buffers are as long as their numbers say, and outlive the call, which fills them.
    let status = unsafe {
        (ort::api().GetStringTensorContent)(
            value.ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            starts.as_mut_ptr(),
            starts.len(),
        )
    };
    // SAFETY: the status comes from the call above and is used once.
    unsafe { ort::Error::result_from_status(status) }.map_err(unfit)?;
    Strings::from_starts(buffer.into(), &starts)
}
