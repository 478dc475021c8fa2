//! Which shard a group belongs to. Other brokers and tools compute the same, so it cannot change.

/// The partition of `__consumer_offsets` (of `shards` in all) that holds the group: the absolute
/// value of Java's `String.hashCode` over UTF-16 units, modulo the count; the one value without an
/// absolute, −2³¹, counts as 0.
///
/// *Bounds*: `shards` > 0.
#[must_use]
pub fn shard_of(group_id: &str, shards: i32) -> i32 {
    assert!(shards > 0);
    let hash = group_id.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    hash.checked_abs().unwrap_or(0) % shards
}

#[cfg(test)]
mod tests {
    use super::shard_of;

    #[test]
    fn groups_land_where_kafka_puts_them() {
        let table = [
            ("", 0),
            ("group", 47),
            ("my-group", 12),
            ("группа", 8),
            ("test-consumer-group", 31),
            ("my-transactional-id", 46),
            ("polygenelubricants", 0),
            ("😀", 49),
        ];
        for (group, shard) in table {
            assert_eq!(shard_of(group, 50), shard, "{group}");
        }
    }
}
