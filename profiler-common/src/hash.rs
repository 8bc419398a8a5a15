//! The two 64-bit hashes by which stacks are interned: one to find a stack, the other to tell whether it is the one.

/// The state before the first word.
pub const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes one word into the hash that stacks are found by.
///
/// A multiply spreads each bit upwards and the shift brings the upper half down again, so that every bit of `word`
/// reaches every bit within two rounds. Two stacks that share a hash all the same are told apart by their
/// [checks](mix_check), so this needs to be fast and even, not secure.
#[inline(always)]
#[must_use]
pub const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
    product ^ (product >> 32)
}

/// Mixes one word into the check, by other means than [`mix`]: two stacks that share a hash share their check once in
/// 2^64 cases.
#[inline(always)]
#[must_use]
pub const fn mix_check(check: u64, word: u64) -> u64 {
    (check.rotate_left(23) ^ word).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
}

/// The hash for the `attempt`-th place to look for a stack: the first place is the hash itself.
#[inline(always)]
#[must_use]
pub const fn probe(hash: u64, attempt: u64) -> u64 {
    hash.wrapping_add(attempt.wrapping_mul(SEED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_content_matter() {
        let of = |words: &[u64]| words.iter().fold(SEED, |hash, &word| mix(hash, word));
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_ne!(of(&[0]), of(&[0, 0]));
    }

    #[test]
    fn checks_do_not_follow_from_hashes() {
        // Words for which one round of `mix` from SEED agrees in the lower half; the checks all differ.
        let mut seen = std::collections::HashMap::new();
        for word in 0..200_000_u64 {
            let check = mix_check(SEED, word);
            if let Some(other) = seen.insert(mix(SEED, word) as u32 & 0xffff, check) {
                assert_ne!(other, check);
            }
        }
    }

    #[test]
    fn a_million_similar_stacks_have_distinct_hashes() {
        let mut hashes: Vec<u64> = (0..1_000_000_u64)
            .map(|i| {
                [0x5555_5555_0000 + i % 1000, 0x7fff_0000_0000 + i / 1000]
                    .iter()
                    .fold(SEED, |h, &w| mix(h, w))
            })
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 1_000_000);
    }
}
