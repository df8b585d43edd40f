//! A share of the posts by their ids, the same for all rules and at all times.

/// True if the post with an id belongs to a sample. A larger sample contains all posts of a smaller one.
pub(super) fn contains(id: &str, percent: u8) -> bool {
    mixed(id) % 100 < u64::from(percent)
}

/// The finalizer of SplitMix64 over FNV-1a. Its result is part of the meaning of `sample:` and does not change.
fn mixed(id: &str) -> u64 {
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_even_and_nested() {
        let ids: Vec<String> =
            (0..10_000_u64).map(|n| (1_500_000_000_000_000_000 + n * 4_194_304).to_string()).collect();
        let sample = |percent| ids.iter().filter(|id| contains(id, percent)).collect::<Vec<_>>();
        let tenth = sample(10);
        assert!((900..1_100).contains(&tenth.len()), "{}", tenth.len());
        assert!(tenth.iter().all(|id| contains(id, 11)));
        assert_eq!(sample(100).len(), ids.len());
    }

    /// Subscribers keep the same posts over restarts and versions.
    #[test]
    fn sample_of_id_is_fixed() {
        assert_eq!(mixed("1500000000000000001") % 100, FIXED);
    }

    const FIXED: u64 = 28;
}
