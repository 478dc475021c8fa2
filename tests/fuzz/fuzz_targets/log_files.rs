//! The files of a partition, damaged in any way: see [`millstream_fuzz::damaged_log`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| millstream_fuzz::damaged_log::check(data));
