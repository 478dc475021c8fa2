//! Which version of a request both sides speak (ApiVersions, KIP-35, KIP-511).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use millstream_protocol::ApiKey;
use millstream_protocol::messages::ApiVersionsResponse;

/// What a broker said it offers.
#[derive(Debug, Clone, Default)]
pub struct BrokerVersions {
    ranges: BTreeMap<i16, (i16, i16)>,
}

impl BrokerVersions {
    pub(crate) const fn none() -> Self {
        Self {
            ranges: BTreeMap::new(),
        }
    }

    pub(crate) fn from_response(response: &ApiVersionsResponse<'_>) -> Self {
        Self {
            ranges: response
                .api_keys
                .iter()
                .map(|key| (key.api_key, (key.min_version, key.max_version)))
                .collect(),
        }
    }

    /// The versions the broker offers of `api`, both ends included.
    pub fn offered(&self, api: ApiKey) -> Option<RangeInclusive<i16>> {
        self.ranges.get(&api.code()).map(|&(min, max)| min..=max)
    }

    /// The newest version of `api` that both sides speak, not above `at_most`.
    pub fn newest_common(&self, api: ApiKey, at_most: i16) -> Option<i16> {
        let (min, max) = *self.ranges.get(&api.code())?;
        let ours = api.versions();
        let newest = max.min(*ours.end()).min(at_most);
        (newest >= min.max(*ours.start())).then_some(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_protocol::messages::api_versions_response::ApiVersion;

    fn offering(api: ApiKey, min: i16, max: i16) -> BrokerVersions {
        BrokerVersions::from_response(&ApiVersionsResponse {
            api_keys: vec![ApiVersion {
                api_key: api.code(),
                min_version: min,
                max_version: max,
            }],
            ..Default::default()
        })
    }

    #[test]
    fn the_newest_version_of_both_is_taken() {
        let ours = *ApiKey::Metadata.versions().end();
        let newer = offering(ApiKey::Metadata, 0, ours + 5);
        assert_eq!(newer.newest_common(ApiKey::Metadata, i16::MAX), Some(ours));
        assert_eq!(newer.newest_common(ApiKey::Metadata, 9), Some(9));
        let older = offering(ApiKey::Metadata, 0, 7);
        assert_eq!(older.newest_common(ApiKey::Metadata, i16::MAX), Some(7));
    }

    #[test]
    fn no_common_version_is_none() {
        let ours = *ApiKey::Produce.versions().start();
        let ancient = offering(ApiKey::Produce, 0, ours - 1);
        assert_eq!(ancient.newest_common(ApiKey::Produce, i16::MAX), None);
        assert_eq!(ancient.newest_common(ApiKey::Fetch, i16::MAX), None);
    }
}
