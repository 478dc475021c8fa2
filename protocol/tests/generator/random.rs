//! Random numbers from a seed (SplitMix64), and the values that codecs get wrong.

pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A number whose low bits are used: extremes, small ones, any.
    pub fn number(&mut self) -> u64 {
        const EDGES: [i64; 12] = [
            0,
            1,
            -1,
            -2,
            i8::MIN as i64,
            i8::MAX as i64,
            i16::MIN as i64,
            i16::MAX as i64,
            i32::MIN as i64,
            i32::MAX as i64,
            i64::MIN,
            i64::MAX,
        ];
        match self.below(3) {
            0 => EDGES[self.below(EDGES.len())] as u64,
            1 => self.below(100) as u64,
            _ => self.next(),
        }
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Text of about so many bytes, at most three more.
    pub fn text(&mut self, length: usize) -> String {
        const LETTERS: [char; 12] = [
            'a',
            'Z',
            '0',
            '-',
            '\0',
            '"',
            'é',
            'ß',
            '中',
            '\u{fffd}',
            '😀',
            '\u{10ffff}',
        ];
        let mut text = String::new();
        while text.len() < length {
            text.push(LETTERS[self.below(LETTERS.len())]);
        }
        text
    }
}
