//! What the fuzz targets share. Each target states in its first lines what must hold for any input.
//!
//! A target's input is a saved file or what the fuzzer makes of one; the first bytes choose what is
//! done with the rest, so that one file is one case for ever.

#![forbid(unsafe_code)]

pub mod codec;
pub mod damaged_log;
pub mod input;
pub mod message;
