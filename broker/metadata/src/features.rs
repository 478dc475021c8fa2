//! Features of the cluster and the levels they are at (KIP-584).
//!
//! A client learns from them what the cluster as a whole may be asked for: the levels this release
//! *supports*, and the one that is *finalized* for all brokers. Names and ranges are Kafka's of 4.4, so
//! that its clients and tools read them as they do there. A level is changed by UpdateFeatures alone;
//! 0 means that the feature is off, and it is then not listed as finalized.

use std::collections::BTreeMap;

use millstream_protocol::ErrorCode;

use crate::controller::{Controller, Decision};
use crate::image::Image;
use crate::record::FeatureRecord;

/// A feature as this release knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The lowest level supported.
    pub min_level: i16,
    /// The highest level supported.
    pub max_level: i16,
    /// The level of a cluster whose metadata log does not say. It stays what it is in every later release:
    /// a level rises only when somebody asks for it.
    pub initial_level: i16,
}

const fn feature(name: &'static str, levels: (i16, i16), initial_level: i16) -> Feature {
    Feature {
        name,
        min_level: levels.0,
        max_level: levels.1,
        initial_level,
    }
}

/// The version of the metadata's records. It cannot be lowered.
pub const METADATA_VERSION: &str = "metadata.version";
/// The version of the quorum's protocol; above 0 voters may come and go.
const KRAFT_VERSION: &str = "kraft.version";

/// Every feature, by name.
pub const FEATURES: &[Feature] = &[
    feature("eligible.leader.replicas.version", (0, 1), 1),
    feature("group.version", (0, 1), 1),
    feature(KRAFT_VERSION, (0, 1), 0),
    feature(METADATA_VERSION, (7, 33), 33),
    feature("share.version", (0, 2), 2),
    feature("streams.version", (0, 1), 1),
    feature("transaction.version", (0, 2), 2),
];

/// The feature of this name.
#[must_use]
pub fn feature_named(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

impl Image {
    /// The level a feature is at.
    #[must_use]
    pub fn feature_level(&self, feature: &Feature) -> i16 {
        let set = self.features.get(feature.name).copied();
        set.unwrap_or(feature.initial_level)
    }

    /// The features that are on, with their levels, by name.
    pub fn finalized_features(&self) -> impl Iterator<Item = (&'static Feature, i16)> {
        let levels = FEATURES
            .iter()
            .map(|feature| (feature, self.feature_level(feature)));
        levels.filter(|(_, level)| *level > 0)
    }

    /// Features whose level was set, by name.
    pub(crate) fn set_features(&self) -> impl Iterator<Item = (&'static str, i16)> {
        self.features.iter().map(|(name, level)| (*name, *level))
    }
}

/// Applies a record. *Errors*: why it makes no sense.
pub(crate) fn replay(
    levels: &mut BTreeMap<&'static str, i16>,
    record: &FeatureRecord,
) -> Result<(), String> {
    let feature = feature_named(&record.name);
    let level = i16::try_from(record.level).ok();
    let supported = feature
        .zip(level)
        .filter(|(feature, level)| (feature.min_level..=feature.max_level).contains(level));
    let (feature, level) = supported.ok_or_else(|| {
        let (name, level) = (&record.name, record.level);
        format!("this release does not support level {level} of feature {name}")
    })?;
    levels.insert(feature.name, level);
    Ok(())
}

/// In which direction a client means to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    /// Up.
    Upgrade,
    /// Down, if nothing is lost by it.
    SafeDowngrade,
    /// Down, whatever is lost by it.
    UnsafeDowngrade,
}

impl UpgradeType {
    /// The type of this number of the wire.
    #[must_use]
    pub fn from_code(code: i8) -> Option<UpgradeType> {
        match code {
            1 => Some(UpgradeType::Upgrade),
            2 => Some(UpgradeType::SafeDowngrade),
            3 => Some(UpgradeType::UnsafeDowngrade),
            _ => None,
        }
    }
}

/// A level that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// The feature's name.
    pub name: String,
    /// The level it shall be at.
    pub level: i16,
    /// In which direction that is; none for a number nobody knows.
    pub upgrade_type: Option<UpgradeType>,
}

/// Why no feature of a request is updated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the update failed for all features since the following feature had an error: {feature}: {reason}"
)]
pub struct FeatureUpdateError {
    /// The first feature that cannot be.
    pub feature: String,
    /// Why it cannot.
    pub reason: InvalidFeatureUpdate,
}

impl FeatureUpdateError {
    /// The code a client gets.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InvalidUpdateVersion
    }
}

/// Why a feature cannot be at a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFeatureUpdate {
    /// The number of the upgrade type is unknown.
    #[error("the controller does not support the given upgrade type")]
    UpgradeType,
    /// No level is negative.
    #[error("level {0} is below 0")]
    Negative(i16),
    /// No feature has this name.
    #[error("the controller does not know this feature")]
    Unknown,
    /// The level is none of those supported.
    #[error("the controller supports the levels {min} to {max}, not {asked}")]
    Range {
        /// The level asked for.
        asked: i16,
        /// The lowest one.
        min: i16,
        /// The highest one.
        max: i16,
    },
    /// The level is lower, and the client means to go up.
    #[error("it is at level {0}: going down takes the upgrade type safe or unsafe downgrade")]
    LowerByUpgrade(i16),
    /// The level is higher, and the client means to go down.
    #[error("it is at level {0}: a downgrade cannot go up")]
    HigherByDowngrade(i16),
    /// The metadata might lose something.
    #[error("it is at level {0}, and a downgrade might delete metadata")]
    MetadataDowngrade(i16),
    /// The quorum is what it is.
    #[error("the quorum of this cluster has one fixed voter")]
    FixedQuorum,
}

impl Controller {
    /// UpdateFeatures: all of the request, or nothing. Of a feature named twice the last level counts. The
    /// answer lists the features that are at the levels asked for now.
    pub fn decide_update_features(
        &self,
        image: &Image,
        updates: &[FeatureUpdate],
        validate_only: bool,
    ) -> Decision<Result<Vec<String>, FeatureUpdateError>> {
        let last_of_each: BTreeMap<&str, &FeatureUpdate> = updates
            .iter()
            .map(|update| (&*update.name, update))
            .collect();
        let mut records = Vec::new();
        for update in last_of_each.values() {
            match check_update(image, update) {
                Ok(true) => {
                    let record = FeatureRecord {
                        name: update.name.clone(),
                        level: i32::from(update.level),
                    };
                    records.push(record.into());
                }
                Ok(false) => {}
                Err(reason) => {
                    let feature = update.name.clone();
                    let answer = Err(FeatureUpdateError { feature, reason });
                    let records = Vec::new();
                    return Decision { records, answer };
                }
            }
        }
        if validate_only {
            records.clear();
        }
        let names = last_of_each.into_keys().map(str::to_owned);
        let answer = Ok(names.collect());
        Decision { records, answer }
    }
}

/// Whether the update changes anything.
fn check_update(image: &Image, update: &FeatureUpdate) -> Result<bool, InvalidFeatureUpdate> {
    let upgrade_type = update
        .upgrade_type
        .ok_or(InvalidFeatureUpdate::UpgradeType)?;
    let asked = update.level;
    if asked < 0 {
        return Err(InvalidFeatureUpdate::Negative(asked));
    }
    let feature = feature_named(&update.name).ok_or(InvalidFeatureUpdate::Unknown)?;
    let (min, max) = (feature.min_level, feature.max_level);
    if !(min..=max).contains(&asked) {
        return Err(InvalidFeatureUpdate::Range { asked, min, max });
    }
    let present = image.feature_level(feature);
    let is_upgrade = upgrade_type == UpgradeType::Upgrade;
    match asked.cmp(&present) {
        std::cmp::Ordering::Equal => return Ok(false),
        std::cmp::Ordering::Less if is_upgrade => {
            return Err(InvalidFeatureUpdate::LowerByUpgrade(present));
        }
        std::cmp::Ordering::Greater if !is_upgrade => {
            return Err(InvalidFeatureUpdate::HigherByDowngrade(present));
        }
        _ => {}
    }
    match feature.name {
        METADATA_VERSION if asked < present => {
            Err(InvalidFeatureUpdate::MetadataDowngrade(present))
        }
        KRAFT_VERSION => Err(InvalidFeatureUpdate::FixedQuorum),
        _ => Ok(true),
    }
}
