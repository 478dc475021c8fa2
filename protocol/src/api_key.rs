//! The requests of the protocol, their versions and which header each version has.

use std::ops::RangeInclusive;

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

impl ApiKey {
    /// The key as it stands in a request header.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The versions that have a codec, inclusive.
    #[must_use]
    pub fn versions(self) -> RangeInclusive<i16> {
        let (min, max, _) = self.ranges();
        min..=max
    }

    /// Whether this version has compact lengths and tagged fields (KIP-482).
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.ranges().2
    }

    /// The version of the request's header.
    #[must_use]
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the response's header. ApiVersions always has 0, so that a client which knows
    /// nothing yet can read it (KIP-511).
    #[must_use]
    pub fn response_header_version(self, version: i16) -> i16 {
        let is_flexible = self.is_flexible(version) && self != ApiKey::ApiVersions;
        i16::from(is_flexible)
    }
}
