//! Damage to inputs, the same for the same seed: what the tests do with kept inputs in place of a fuzzing engine.

/// Numbers that look random.
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Other seeds give other numbers.
    #[must_use]
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below a limit; 0 where there is none.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        // What numbers, lengths and text trip over.
        const EDGES: [u8; 12] = [0, 1, 2, 7, 8, b'\n', b'%', b'/', 0x7f, 0x80, 0xfe, 0xff];
        if self.below(2) == 0 { EDGES[self.below(EDGES.len())] } else { self.below(256) as u8 }
    }
}

/// One to six changes: bytes are set, counted up or down, cut out, put in or doubled, parts of another input are put in, or
/// the end is cut off.
#[must_use]
pub fn damaged(bytes: &[u8], other: &[u8], longest: usize, numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(bytes.len());
        let end = (at + 1 + numbers.below(16)).min(bytes.len());
        match numbers.below(9) {
            _ if bytes.is_empty() => bytes.push(numbers.byte()),
            0 | 1 => bytes[at] = numbers.byte(),
            2 => bytes[at] = bytes[at].wrapping_add(1),
            3 => bytes[at] ^= 1 << numbers.below(8),
            4 => {
                bytes.drain(at..end);
            }
            5 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            6 => {
                let more: Vec<u8> = (0..=numbers.below(8)).map(|_| numbers.byte()).collect();
                bytes.splice(at..at, more);
            }
            7 => {
                let from = numbers.below(other.len());
                let to = (from + 1 + numbers.below(64)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(longest);
    bytes
}
