//! The settings of groups.

use std::time::Duration;

/// Bounds and delays of classic groups and their offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// Shortest session timeout a member may ask for (`group.min.session.timeout.ms`).
    pub min_session_timeout: Duration,
    /// Longest session timeout a member may ask for (`group.max.session.timeout.ms`).
    pub max_session_timeout: Duration,
    /// How long the first generation of an empty group waits for more members
    /// (`group.initial.rebalance.delay.ms`). Zero by default, unlike Kafka, so that nobody waits.
    pub initial_rebalance_delay: Duration,
    /// Most members of one group (`group.max.size`).
    pub group_max_size: usize,
    /// Most members of all groups of one shard, counted with ids that were handed out and rebalances
    /// under way (`millstream.group.members.per.shard.max`); past it a new member is refused with
    /// GROUP_MAX_SIZE_REACHED.
    pub members_max: usize,
    /// Most groups of one shard (`millstream.group.count.per.shard.max`); past it a new group is refused
    /// with POLICY_VIOLATION.
    pub groups_max: usize,
    /// Longest metadata string of one committed offset (`offset.metadata.max.bytes`).
    pub offset_metadata_max_bytes: usize,
    /// Most bytes of records that one decision may append: the `max.message.bytes` of
    /// `__consumer_offsets`, less room for the header of the batch.
    pub records_max_bytes: usize,
    /// How long offsets of an empty group are kept (`offsets.retention.minutes`).
    pub offsets_retention: Duration,
}

impl Default for GroupConfig {
    fn default() -> Self {
        GroupConfig {
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(1800),
            initial_rebalance_delay: Duration::ZERO,
            group_max_size: i32::MAX as usize,
            members_max: 200_000,
            groups_max: 100_000,
            offset_metadata_max_bytes: 4096,
            records_max_bytes: 1_000_000,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
        }
    }
}
