//! The variable-length integers inside records: zig-zag, seven bits per byte, low ones first.
//!
//! Longer forms than needed are read, as Kafka's clients read them; bits beyond the type are not.

/// Most bytes of a varint.
pub const VARINT_BYTES_MAX: usize = 5;
/// Most bytes of a varlong.
pub const VARLONG_BYTES_MAX: usize = 10;

/// Zig-zag: small magnitudes become small numbers.
#[inline]
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
#[must_use]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bytes that `value` takes; the same for a varint and a varlong.
#[inline]
#[must_use]
pub fn varint_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value`; the same for a varint and a varlong.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::{put_varint, unzigzag, varint_len, zigzag};

    #[test]
    fn small_magnitudes_are_short() {
        for (value, bytes) in [
            (0_i64, vec![0_u8]),
            (-1, vec![1]),
            (1, vec![2]),
            (63, vec![0x7e]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 0x01]),
            (i64::from(i32::MAX), vec![0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(varint_len(value), bytes.len(), "{value}");
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        let mut out = Vec::new();
        put_varint(&mut out, i64::MIN);
        assert_eq!((out.len(), varint_len(i64::MIN)), (10, 10));
        assert_eq!(unzigzag(zigzag(i64::MIN)), i64::MIN);
    }
}
