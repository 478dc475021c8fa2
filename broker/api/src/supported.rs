//! What this broker advertises, and nothing else: the one table that ApiVersions answers and that
//! the dispatcher refuses by.

use millstream_protocol::ApiKey;

/// A request this broker answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedApi {
    /// The request.
    pub api_key: ApiKey,
    /// The oldest version it advertises.
    pub min_version: i16,
    /// The newest version it answers.
    pub max_version: i16,
}

const fn api(api_key: ApiKey, min_version: i16, max_version: i16) -> SupportedApi {
    SupportedApi {
        api_key,
        min_version,
        max_version,
    }
}

/// Old librdkafka looks for Produce from version 0, so it is advertised from there although 0 – 2
/// are refused (as Kafka does).
const SUPPORTED: &[SupportedApi] = &[
    api(ApiKey::Produce, 0, 13),
    api(ApiKey::Fetch, 4, 18),
    api(ApiKey::ListOffsets, 1, 11),
    api(ApiKey::Metadata, 0, 13),
    api(ApiKey::OffsetCommit, 2, 10),
    api(ApiKey::OffsetFetch, 1, 10),
    api(ApiKey::FindCoordinator, 0, 6),
    api(ApiKey::JoinGroup, 0, 9),
    api(ApiKey::Heartbeat, 0, 4),
    api(ApiKey::LeaveGroup, 0, 5),
    api(ApiKey::SyncGroup, 0, 5),
    api(ApiKey::DescribeGroups, 0, 6),
    api(ApiKey::ListGroups, 0, 5),
    api(ApiKey::SaslHandshake, 0, 1),
    api(ApiKey::ApiVersions, 0, 5),
    api(ApiKey::CreateTopics, 2, 7),
    api(ApiKey::DeleteTopics, 1, 6),
    api(ApiKey::DeleteRecords, 0, 2),
    api(ApiKey::InitProducerId, 0, 5),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4),
    api(ApiKey::DescribeAcls, 1, 3),
    api(ApiKey::CreateAcls, 1, 3),
    api(ApiKey::DeleteAcls, 1, 3),
    api(ApiKey::DescribeConfigs, 1, 4),
    api(ApiKey::AlterConfigs, 0, 2),
    api(ApiKey::AlterReplicaLogDirs, 1, 2),
    api(ApiKey::DescribeLogDirs, 1, 5),
    api(ApiKey::SaslAuthenticate, 0, 2),
    api(ApiKey::CreatePartitions, 0, 3),
    api(ApiKey::CreateDelegationToken, 1, 3),
    api(ApiKey::RenewDelegationToken, 1, 2),
    api(ApiKey::ExpireDelegationToken, 1, 2),
    api(ApiKey::DescribeDelegationToken, 1, 3),
    api(ApiKey::DeleteGroups, 0, 3),
    api(ApiKey::ElectLeaders, 0, 2),
    api(ApiKey::IncrementalAlterConfigs, 0, 1),
    api(ApiKey::AlterPartitionReassignments, 0, 1),
    api(ApiKey::ListPartitionReassignments, 0, 0),
    api(ApiKey::OffsetDelete, 0, 0),
    api(ApiKey::DescribeClientQuotas, 0, 1),
    api(ApiKey::AlterClientQuotas, 0, 1),
    api(ApiKey::DescribeUserScramCredentials, 0, 0),
    api(ApiKey::AlterUserScramCredentials, 0, 0),
    api(ApiKey::DescribeQuorum, 0, 2),
    api(ApiKey::UpdateFeatures, 0, 2),
    api(ApiKey::DescribeCluster, 0, 2),
    api(ApiKey::DescribeProducers, 0, 0),
    api(ApiKey::GetTelemetrySubscriptions, 0, 0),
    api(ApiKey::PushTelemetry, 0, 0),
    api(ApiKey::ListConfigResources, 0, 1),
    api(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// Every request this broker answers, by rising key.
#[must_use]
pub fn supported_apis() -> &'static [SupportedApi] {
    SUPPORTED
}

/// Whether a request of this key and version can be answered.
pub(crate) fn is_answered(api_key: ApiKey, version: i16) -> bool {
    let Some(api) = SUPPORTED.iter().find(|api| api.api_key == api_key) else {
        return false;
    };
    let decodable = api_key.versions();
    (api.min_version..=api.max_version).contains(&version) && decodable.contains(&version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_advertised_version_has_a_codec_but_the_first_produce_versions() {
        for api in supported_apis() {
            let codec = api.api_key.versions();
            assert!(api.max_version <= *codec.end(), "{:?}", api.api_key);
            if api.api_key != ApiKey::Produce {
                assert!(api.min_version >= *codec.start(), "{:?}", api.api_key);
            }
        }
        assert!(!is_answered(ApiKey::Produce, 2));
        assert!(is_answered(ApiKey::Produce, 3));
    }

    #[test]
    fn the_table_is_sorted_by_key() {
        assert!(supported_apis().is_sorted_by_key(|api| api.api_key.code()));
    }
}
