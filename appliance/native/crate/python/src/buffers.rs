//! Python's buffers as slices. The slices live no longer than the `PyBuffer`, which keeps the memory in place.
//!
//! What Rust cannot check, and the callers in `appliance/engine/userspace` keep: nobody writes to a buffer while a call
//! has it, since it was just read from a device or socket and belongs to the caller alone.
#![allow(unsafe_code)]

use std::slice;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

fn check(buffer: &PyBuffer<u8>) -> PyResult<()> {
    if buffer.is_c_contiguous() {
        return Ok(());
    }
    Err(PyTypeError::new_err("a contiguous buffer is needed"))
}

/// The bytes of a buffer.
pub fn borrow(buffer: &PyBuffer<u8>) -> PyResult<&[u8]> {
    check(buffer)?;
    if buffer.len_bytes() == 0 {
        return Ok(&[]);
    }
    // SAFETY: the buffer is contiguous, of single bytes, and is held by `buffer` for the life of the slice.
    Ok(unsafe { slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) })
}

/// The bytes of a writable buffer.
pub fn borrow_mut(buffer: &mut PyBuffer<u8>) -> PyResult<&mut [u8]> {
    check(buffer)?;
    if buffer.readonly() {
        return Err(PyTypeError::new_err("a writable buffer is needed"));
    }
    if buffer.len_bytes() == 0 {
        return Ok(&mut []);
    }
    // SAFETY: as above, and writable; borrowed once, since `buffer` is borrowed mutably and `borrow_all_mut` compares.
    Ok(unsafe { slice::from_raw_parts_mut(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) })
}

/// The bytes of several writable buffers with their segment sizes. Raises when two of them overlap.
pub fn borrow_all_mut(batches: &mut [(PyBuffer<u8>, usize)]) -> PyResult<Vec<(&mut [u8], usize)>> {
    let mut places: Vec<(usize, usize)> =
        batches.iter().map(|(buffer, _)| (buffer.buf_ptr() as usize, buffer.len_bytes())).collect();
    places.retain(|(_, size)| *size != 0);
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
        return Err(PyValueError::new_err("buffers overlap"));
    }
    batches.iter_mut().map(|(buffer, size)| Ok((borrow_mut(buffer)?, *size))).collect()
}
