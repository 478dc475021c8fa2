//! ApiVersions, versions 0 – 5.
//!
//! A client's first request: which requests, in which versions. An unknown version is answered in
//! the layout of version 0 with error 35 and one entry, ApiVersions itself (KIP-511), so that a newer
//! client can fall back. Versions 3 and above carry the client's software name, checked here.
//! No features are advertised yet (KIP-584).

use millstream_protocol::messages::ApiVersionsRequest;
use millstream_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use millstream_protocol::{ApiKey, ErrorCode};

use crate::dispatch::Request;
use crate::reply::Reply;
use crate::{Handled, SupportedApi, supported_apis};

pub(crate) fn handle(request: &Request<'_>, body: &ApiVersionsRequest<'_>) -> Handled {
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
    request.reply.answered(&ApiVersionsResponse {
        api_keys: supported_apis().iter().map(entry).collect(),
        ..ApiVersionsResponse::default()
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
