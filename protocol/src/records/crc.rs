//! CRC-32C (Castagnoli), the checksum of record batches, in one place so that the library behind it
//! can be changed in one line.

use crc_fast::{CrcAlgorithm, Digest, checksum_combine};

/// The CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The CRC-32C of what comes in pieces.
#[derive(Debug)]
pub struct Crc32c(Digest);

impl Default for Crc32c {
    fn default() -> Crc32c {
        Crc32c(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Crc32c {
    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all pieces so far.
    #[must_use]
    pub fn finish(&self) -> u32 {
        u32::try_from(self.0.finalize()).expect("a CRC-32 has 32 bits")
    }
}

/// The checksum of a message whose first bytes changed from `before` to `after` (of equal length)
/// while the `rest_len` bytes behind them stayed, given the `crc` of the whole before.
///
/// A CRC is linear: the checksum of two parts is the shifted checksum of the first, xor that of the
/// second. The difference of the two heads, shifted over the rest, is therefore the difference of
/// the two checksums, and the rest need not be read.
#[must_use]
pub fn crc32c_after_edit(crc: u32, before: &[u8], after: &[u8], rest_len: usize) -> u32 {
    debug_assert_eq!(before.len(), after.len(), "an edit keeps the length");
    let difference = crc32c(before) ^ crc32c(after);
    let combined = checksum_combine(
        CrcAlgorithm::Crc32Iscsi,
        u64::from(difference),
        u64::from(crc),
        rest_len as u64,
    );
    u32::try_from(combined).expect("a CRC-32 has 32 bits")
}

#[cfg(test)]
mod tests {
    use super::{Crc32c, crc32c, crc32c_after_edit};

    #[test]
    fn is_the_castagnoli_polynomial() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn pieces_give_the_checksum_of_the_whole() {
        let mut crc = Crc32c::default();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.finish(), crc32c(b"123456789"));
    }

    #[test]
    fn an_edited_head_needs_no_second_pass() {
        for rest_len in [0, 1, 7, 64, 4096, 1_000_003] {
            let rest: Vec<u8> = (0..rest_len).map(|i| (i * 31 % 251) as u8).collect();
            let before = [7_u8; 40];
            let mut after = before;
            after[14] = 200;
            after[39] = 0;
            let whole = |head: &[u8]| crc32c(&[head, &rest[..]].concat());
            assert_eq!(
                crc32c_after_edit(whole(&before), &before, &after, rest_len),
                whole(&after)
            );
        }
    }
}
