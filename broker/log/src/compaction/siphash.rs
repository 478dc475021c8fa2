//! SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012): a hash under a secret key.
//!
//! The offset map of compaction knows keys by their hashes alone, so two keys with one hash would cost
//! a record. Clients choose the keys and know this code, but not the secret, which is drawn anew for
//! each pass: to them the hash is a random function, and n keys collide with a chance of n² / 2¹²⁹.

/// What makes the hash unpredictable.
pub(crate) type Secret = [u64; 2];

struct State([u64; 4]);

impl State {
    fn round(&mut self) {
        let [v0, v1, v2, v3] = &mut self.0;
        *v0 = v0.wrapping_add(*v1);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v3);
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.wrapping_add(*v3);
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.wrapping_add(*v1);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v2 = v2.rotate_left(32);
    }

    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    fn squeeze(&mut self) -> u64 {
        for _ in 0..4 {
            self.round();
        }
        self.0.iter().fold(0, |word, part| word ^ part)
    }
}

/// The hash of `bytes`.
pub(crate) fn hash(secret: Secret, bytes: &[u8]) -> [u64; 2] {
    let [k0, k1] = secret;
    let mut state = State([
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ]);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state.absorb(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len() as u8;
    state.absorb(u64::from_le_bytes(last));
    state.0[2] ^= 0xee;
    let first = state.squeeze();
    state.0[1] ^= 0xdd;
    [first, state.squeeze()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the authors' reference implementation: key 00 … 0f, message 00, 01, ….
    #[test]
    fn published_vectors() {
        let secret = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let hex = |length: usize| {
            let message: Vec<u8> = (0..length as u8).collect();
            let words = hash(secret, &message);
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            bytes.map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(hex(0), "a3817f04ba25a8e66df67214c7550293");
        assert_eq!(hex(1), "da87c1d86b99af44347659119b22fc45");
        assert_eq!(hex(8), "3b62a9ba6258f5610f83e264f31497b4");
    }
}
