//! `listeners`, `advertised.listeners` and the settings that say what their names mean.

use std::net::IpAddr;

use millstream_api::HostPort;
use millstream_metadata::split_list;

use super::error::ConfigError;
use super::layered::Layered;
use super::origin::Origin;

/// The one protocol there is: no encryption, no authentication.
const PLAINTEXT: &str = "PLAINTEXT";
/// Kafka's other protocols.
const SECURE: &[&str] = &["SSL", "SASL_PLAINTEXT", "SASL_SSL"];
/// What no host means: every IPv4 interface.
const ANY_HOST: &str = "0.0.0.0";

/// An address that Kafka's protocol is served on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaListener {
    /// Its name, in upper case.
    pub name: String,
    /// Where it binds. Port 0: a free one.
    pub address: HostPort,
    /// What clients are told; none: the local address of their connection.
    pub advertised: Option<HostPort>,
}

/// The listeners to open, and the names of those that are left out because controllers used them.
pub(super) fn listeners(
    settings: &Layered,
) -> Result<(Vec<KafkaListener>, Vec<String>), ConfigError> {
    let protocols = protocols(settings)?;
    let controllers: Vec<String> = split_list(settings.text("controller.listener.names"))
        .map(str::to_uppercase)
        .collect();
    let mut advertised = named_addresses(settings, "advertised.listeners")?;
    advertised.retain(|(name, _)| !controllers.contains(name));
    let mut open = Vec::new();
    let mut left_out = Vec::new();
    for (name, mut address) in named_addresses(settings, "listeners")? {
        if controllers.contains(&name) {
            left_out.push(name);
            continue;
        }
        check_protocol(settings, &protocols, &name)?;
        if address.host.is_empty() {
            address.host = ANY_HOST.to_owned();
        }
        let told = advertised.iter().position(|(other, _)| *other == name);
        let advertised = told.map(|i| advertised.remove(i).1);
        open.push(KafkaListener {
            name,
            address,
            advertised,
        });
    }
    if let Some((name, _)) = advertised.first() {
        let reason = format!("names {name}, which is not among the listeners");
        return Err(settings.error("advertised.listeners", reason));
    }
    if open.is_empty() {
        let reason = "opens no listener for clients; give one as NAME://HOST:PORT".to_owned();
        return Err(settings.error("listeners", reason));
    }
    for listener in &open {
        check_advertised(settings, listener)?;
    }
    Ok((open, left_out))
}

/// Whether only this machine can reach the address. A name that is not `localhost` counts as open.
pub(super) fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Reads a list of `NAME://HOST:PORT`.
fn named_addresses(
    settings: &Layered,
    setting: &'static str,
) -> Result<Vec<(String, HostPort)>, ConfigError> {
    let mut addresses: Vec<(String, HostPort)> = Vec::new();
    for item in split_list(settings.text(setting)) {
        let parsed = item
            .split_once("://")
            .and_then(|(name, address)| Some((name.to_uppercase(), address.parse().ok()?)))
            .filter(|(name, _)| !name.is_empty());
        let Some((name, address)) = parsed else {
            let reason = format!(
                "has the item {item:?}, which is not NAME://HOST:PORT with a port from 0 to 65535"
            );
            return Err(settings.error(setting, reason));
        };
        if addresses.iter().any(|(other, _)| *other == name) {
            return Err(settings.error(setting, format!("names {name} twice; names are unique")));
        }
        addresses.push((name, address));
    }
    Ok(addresses)
}

/// Reads `listener.security.protocol.map`.
fn protocols(settings: &Layered) -> Result<Vec<(String, String)>, ConfigError> {
    const MAP: &str = "listener.security.protocol.map";
    let mut protocols = Vec::new();
    for item in split_list(settings.text(MAP)) {
        let Some((name, protocol)) = item.split_once(':') else {
            let reason = format!("has the item {item:?}, which is not NAME:PROTOCOL");
            return Err(settings.error(MAP, reason));
        };
        protocols.push((name.trim().to_uppercase(), protocol.trim().to_uppercase()));
    }
    Ok(protocols)
}

fn check_protocol(
    settings: &Layered,
    protocols: &[(String, String)],
    name: &str,
) -> Result<(), ConfigError> {
    let mapped = protocols.iter().find(|(other, _)| other == name);
    let protocol = mapped.map_or(name, |(_, protocol)| protocol.as_str());
    if protocol == PLAINTEXT {
        return Ok(());
    }
    if SECURE.contains(&protocol) {
        let origin = settings
            .given("listeners")
            .map_or(Origin::Default, |given| given.origin.clone());
        return Err(ConfigError::Refused {
            name: format!("listener {name} with protocol {protocol}"),
            origin,
            reason: "TLS, SASL and ACLs come later",
        });
    }
    let reason = format!(
        "has the listener {name}, whose protocol is not known; \
         listener.security.protocol.map={name}:PLAINTEXT would say it"
    );
    Err(settings.error("listeners", reason))
}

fn check_advertised(settings: &Layered, listener: &KafkaListener) -> Result<(), ConfigError> {
    let Some(advertised) = &listener.advertised else {
        return Ok(());
    };
    let is_any = advertised
        .host
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_unspecified());
    let reason = if advertised.host.is_empty() || is_any {
        "must name a host that clients can reach"
    } else if advertised.port == 0 {
        "must name a port that clients can reach"
    } else {
        return Ok(());
    };
    Err(settings.error("advertised.listeners", reason.to_owned()))
}
