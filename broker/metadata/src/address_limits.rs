//! Limits of single addresses, ADDRESS:COUNT each (`max.connections.per.ip.overrides`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config_value::split_list;

/// The most addresses of one list. Each new connection has it read.
pub(crate) const ADDRESS_LIMITS_MAX: usize = 1000;

/// Checks such a list and answers its canonical text: of an address given twice the last limit.
pub(crate) fn check_address_limits(text: &str) -> Option<String> {
    let mut limits = BTreeMap::new();
    for item in split_list(text) {
        let (address, limit) = item.rsplit_once(':')?;
        let address: IpAddr = address.trim().parse().ok()?;
        let limit: i32 = limit.trim().parse().ok().filter(|limit| *limit >= 0)?;
        limits.insert(address.to_canonical(), limit);
    }
    if limits.len() > ADDRESS_LIMITS_MAX {
        return None;
    }
    let items = limits.iter();
    let items: Vec<_> = items
        .map(|(address, limit)| format!("{address}:{limit}"))
        .collect();
    Some(items.join(","))
}

/// The limit that a checked list has for an address.
#[must_use]
pub fn limit_of_address(limits: &str, address: IpAddr) -> Option<usize> {
    let address = address.to_canonical().to_string();
    let mut items = split_list(limits).filter_map(|item| item.rsplit_once(':'));
    let (_, limit) = items.find(|(item, _)| *item == address)?;
    limit.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lists_become_canonical_and_are_looked_up() {
        let text = " 10.0.0.1:5, ::1:7 ,::ffff:10.0.0.1:6,2001:DB8:0::9:0";
        let limits = check_address_limits(text).unwrap();
        assert_eq!(limits, "10.0.0.1:6,::1:7,2001:db8::9:0");
        let of = |address: &str| limit_of_address(&limits, address.parse().unwrap());
        assert_eq!(of("::ffff:10.0.0.1"), Some(6));
        assert_eq!(of("2001:db8::9"), Some(0));
        assert_eq!(of("10.0.0.2"), None);
        assert_eq!(check_address_limits(" ").as_deref(), Some(""));
    }

    #[test]
    fn what_is_no_address_with_a_limit_is_refused() {
        for text in [
            "10.0.0.1",
            "localhost:5",
            "10.0.0.1:-1",
            "10.0.0.1:x",
            "::1",
            ":5",
            "a:5,",
        ] {
            assert_eq!(check_address_limits(text), None, "{text}");
        }
        let many = |count: u32| {
            let items = (0..count).map(|number| format!("{}:1", std::net::Ipv4Addr::from(number)));
            check_address_limits(&items.collect::<Vec<_>>().join(","))
        };
        assert!(many(1000).is_some());
        assert_eq!(many(1001), None);
    }
}
