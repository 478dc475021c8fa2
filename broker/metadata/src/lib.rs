//! The cluster's metadata: records, the image they build, and the controller that decides on them.
//!
//! The way of a change: [`Controller`]`::decide_*` reads an [`Image`] and answers records; the shell
//! appends them to the metadata log; when they are committed, [`Image::apply`] makes the next image and
//! a [`Delta`] for subscribers, and the answer is sent. Loading at start is `apply` too, so every test
//! of an ordinary change tests recovery.
//!
//! This crate knows no log, no disk, no network and no clock.

#![forbid(unsafe_code)]

mod address_limits;
mod alter_broker_configs;
mod alter_configs;
mod alter_group_configs;
mod alter_loggers;
mod assign_directories;
mod broker_config;
mod client_metrics_config_def;
mod client_quotas;
mod config_value;
mod controller;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod delta;
mod describe_configs;
mod features;
mod group_config_def;
mod image;
mod placement;
mod quota_entity;
mod reassign_partitions;
mod record;
mod resource;
mod scram;
mod snapshot;
mod topic_config;
mod topic_config_def;

pub use address_limits::limit_of_address;
pub use alter_broker_configs::{BROKER_CONFIGS_MAX, BrokerConfigError, CONFIG_NAME_BYTES_MAX};
pub use alter_configs::{
    AlterConfigsError, AlterLoggers, CONFIG_CHANGES_MAX, CONFIG_VALUE_BYTES_MAX, ConfigAlteration,
    ConfigChange, ConfigOperation, ConfigsToAlter, ResourceChange,
};
pub use alter_group_configs::{CONFIGURED_GROUPS_MAX, SUBSCRIPTIONS_MAX};
pub use alter_loggers::{LogLevel, LoggerError, ROOT_LOGGER, check_loggers};
pub use assign_directories::DirectoryAssignment;
pub use broker_config::{
    BrokerConfigDef, BrokerConfigTable, LISTENER_PREFIX, UpdateMode, kafka_broker_config,
    kafka_broker_configs, update_mode,
};
pub use client_metrics_config_def::{
    CLIENT_METRICS_CONFIGS, ClientMetricsConfigDef, InvalidSubscription, client_metrics_config_def,
};
pub use client_quotas::{QuotaAlteration, QuotaAlterationResult, QuotaError};
pub use config_value::{ConfigRange, ConfigType, InvalidConfig, check_value, split_list};
pub use controller::{
    Controller, ControllerSettings, Decision, InternalTopicSettings, PRODUCER_ID_BLOCK,
    ProducerIdsExhausted, WrongCluster,
};
pub use create_partitions::{CreatePartitionsError, MorePartitions, PartitionsCreation};
pub use create_topics::{CreateTopicError, CreatedTopic, NewTopic, TopicCreation};
pub use delete_topics::{DeleteTopicError, TopicDeletion, TopicToDelete};
pub use delta::Delta;
pub use describe_configs::{
    DescribedConfig, DescribedSynonym, describe_broker, describe_client_metrics, describe_group,
    describe_topic,
};
pub use features::{
    FEATURES, Feature, FeatureUpdate, FeatureUpdateError, InvalidFeatureUpdate, METADATA_VERSION,
    UpgradeType, feature_named,
};
pub use group_config_def::{GROUP_CONFIGS, GroupConfigDef, GroupLayers, group_config_def};
pub use image::{
    Configs, Image, OFFSETS_TOPIC, PartitionImage, ReplayError, SHARE_STATE_TOPIC,
    TOPIC_PARTITIONS_MAX, TRANSACTIONS_TOPIC, TopicImage, is_internal_topic,
};
pub use placement::InvalidAssignment;
pub use quota_entity::{
    AppliedQuota, CONSUMER_BYTE_RATE, PRODUCER_BYTE_RATE, QuotaEntity, QuotaEntityType,
    QuotaFilter, QuotaMatch, QuotaValue, Quotas,
};
pub use reassign_partitions::ReassignmentError;
pub use record::{
    BrokerStartRecord, ClientQuotaRecord, ClusterRecord, ConfigRecord, FIRST_OPTIONAL_TYPE,
    FeatureRecord, PartitionRecord, ProducerIdsRecord, QuotaEntityRecord, Record, RecordError,
    RemoveTopicRecord, ScramCredentialRecord, ScramKeysRecord, TopicRecord,
};
pub use resource::ConfigResource;
pub use scram::{
    ScramAlterationResult, ScramCredential, ScramDeletion, ScramError, ScramMechanism,
    ScramUpsertion, ScramUsers,
};
pub use snapshot::{SnapshotError, decode_records, encode_records};
pub use topic_config::{
    BrokerLayers, CompressionType, ConfigSource, ConfigSynonym, Durability, ResolvedConfig,
    TimestampType, TopicConfig,
};
pub use topic_config_def::{
    BrokerSynonym, TOPIC_CONFIGS, TopicConfigDef, check_broker_synonym, check_topic_config,
    topic_config_def,
};
