//! ApiVersions, versions 0 – 5.
//!
//! A client's first request: which requests, in which versions. An unknown version is answered in
//! the layout of version 0 with error 35 and one entry, ApiVersions itself (KIP-511), so that a newer
//! client can fall back. Versions 3 and above carry the client's software name, checked here.
//! From 3 on the features of the cluster stand beside (KIP-584), up to 3 without those that may be
//! off: older clients take 0 for a mistake.

use std::borrow::Cow;

use millstream_metadata::{FEATURES, Feature};
use millstream_protocol::messages::ApiVersionsRequest;
use millstream_protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use millstream_protocol::{ApiKey, ErrorCode};

use crate::dispatch::Request;
use crate::reply::Reply;
use crate::{Broker, Handled, SupportedApi, View, supported_apis};

/// Up to this version a feature with level 0 among those supported cannot be said.
const VERSION_WITHOUT_OFF: i16 = 3;

pub(crate) fn handle(
    broker: &Broker,
    request: &Request<'_>,
    body: &ApiVersionsRequest<'_>,
) -> Handled {
    let has_software = request.reply.version >= 3;
    let is_legal = is_software_name(&body.client_software_name)
        && is_software_name(&body.client_software_version);
    if has_software && !is_legal {
        let refusal = ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..ApiVersionsResponse::default()
        };
        return request.reply.answered(&refusal);
    }
    let view = broker.view();
    request.reply.answered(&ApiVersionsResponse {
        api_keys: supported_apis().iter().map(entry).collect(),
        ..features(&view, request.reply.version)
    })
}

/// Answers a version nobody knows, in the layout everybody knows.
pub(crate) fn refuse_version(reply: Reply) -> Handled {
    let own = supported_apis()
        .iter()
        .filter(|api| api.api_key == ApiKey::ApiVersions);
    Reply {
        version: 0,
        ..reply
    }
    .answered(&ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: own.map(entry).collect(),
        ..ApiVersionsResponse::default()
    })
}

fn features(view: &View, version: i16) -> ApiVersionsResponse<'static> {
    let is_known = |feature: &&Feature| feature.min_level > 0 || version > VERSION_WITHOUT_OFF;
    let supported = FEATURES
        .iter()
        .filter(is_known)
        .map(|feature| SupportedFeatureKey {
            name: Cow::Borrowed(feature.name),
            min_version: feature.min_level,
            max_version: feature.max_level,
        });
    let finalized = view.image.finalized_features();
    let finalized = finalized.map(|(feature, level)| FinalizedFeatureKey {
        name: Cow::Borrowed(feature.name),
        max_version_level: level,
        min_version_level: level,
    });
    ApiVersionsResponse {
        supported_features: supported.collect(),
        finalized_features_epoch: view.metadata_log.log_end_offset.0,
        finalized_features: finalized.collect(),
        ..ApiVersionsResponse::default()
    }
}

fn entry(api: &SupportedApi) -> ApiVersion {
    ApiVersion {
        api_key: api.api_key.code(),
        min_version: api.min_version,
        max_version: api.max_version,
    }
}

/// Letters and digits, with `.` and `-` inside (KIP-511).
fn is_software_name(name: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    let is_inner = |c: char| is_edge(c) || c == '.' || c == '-';
    name.starts_with(is_edge) && name.ends_with(is_edge) && name.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn software_names() {
        for legal in [
            "a",
            "apache-kafka-java",
            "4.4.0",
            "confluent-kafka-python-2.1",
        ] {
            assert!(is_software_name(legal), "{legal}");
        }
        for illegal in ["", "-a", "a.", "a b", "a\n"] {
            assert!(!is_software_name(illegal), "{illegal:?}");
        }
    }
}
