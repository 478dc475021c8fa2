//! What a request asks of the metadata log or of the log directories, and what it hears back.

use std::fmt;
use std::sync::Arc;

use millstream_metadata::{
    ConfigAlteration, ConfigsToAlter, FeatureUpdate, FeatureUpdateError, MorePartitions, NewTopic,
    PartitionsCreation, QuotaAlteration, QuotaAlterationResult, ScramAlterationResult,
    ScramDeletion, ScramUpsertion, TopicCreation, TopicDeletion, TopicToDelete,
};
use millstream_model::{Offset, RequestToken, TopicPartition};
use millstream_protocol::ErrorCode;
use millstream_replica::HostedPartition;

/// A change of metadata to be decided.
#[derive(Debug)]
pub enum Proposal {
    /// Create topics, and answer the request.
    CreateTopics {
        /// Who waits for it.
        token: RequestToken,
        /// The topics.
        topics: Vec<NewTopic>,
        /// Whether only to say what would happen.
        validate_only: bool,
    },
    /// Add partitions to topics, and answer the request.
    CreatePartitions {
        /// Who waits for it.
        token: RequestToken,
        /// The topics.
        topics: Vec<MorePartitions>,
        /// Whether only to say what would happen.
        validate_only: bool,
    },
    /// Delete topics, and answer the request.
    DeleteTopics {
        /// Who waits for it.
        token: RequestToken,
        /// The topics.
        topics: Vec<TopicToDelete>,
    },
    /// Change configs, and answer the request.
    AlterConfigs {
        /// Who waits for it.
        token: RequestToken,
        /// Which configs of what.
        asked: ConfigsToAlter,
    },
    /// Create topics that were asked for and do not exist, with default settings. Nobody waits.
    AutoCreate {
        /// Their names.
        names: Vec<String>,
    },
    /// Set features to other levels, and answer the request.
    UpdateFeatures {
        /// Who waits for it.
        token: RequestToken,
        /// The features.
        updates: Vec<FeatureUpdate>,
        /// Whether only to say what would happen.
        validate_only: bool,
    },
    /// Change credentials of users, and answer the request.
    AlterScram {
        /// Who waits for it.
        token: RequestToken,
        /// Credentials that are to go.
        deletions: Vec<ScramDeletion>,
        /// Credentials that are to be.
        upsertions: Vec<ScramUpsertion>,
    },
    /// Change quotas of clients, and answer the request.
    AlterClientQuotas {
        /// Who waits for it.
        token: RequestToken,
        /// The changes.
        alterations: Vec<QuotaAlteration>,
        /// Whether only to say what would happen.
        validate_only: bool,
    },
    /// Hand out a producer id.
    ProducerId {
        /// Who waits for it.
        token: RequestToken,
    },
}

/// Records at the beginning of a partition that are to go.
pub struct RecordsToDelete {
    /// The partition, as the request names it.
    pub name: TopicPartition,
    /// The partition, or why nothing can be deleted from it.
    pub target: Result<Arc<HostedPartition>, ErrorCode>,
    /// The first offset to keep; −1: the high watermark.
    pub offset: i64,
}

impl fmt::Debug for RecordsToDelete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordsToDelete")
            .field("name", &self.name)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// What became of them.
#[derive(Debug)]
pub struct DeletedRecords {
    /// The partition, as the request names it.
    pub name: TopicPartition,
    /// Where its log begins now.
    pub result: Result<Offset, ErrorCode>,
}

/// A log directory, as somebody found it.
#[derive(Debug)]
pub struct LogDirectoryDescription {
    /// Where it is.
    pub path: String,
    /// What is in it; `None` where it is offline.
    pub state: Option<LogDirectoryState>,
}

/// What is in a log directory.
#[derive(Debug)]
pub struct LogDirectoryState {
    /// The size of its file system.
    pub total_bytes: u64,
    /// What may still be written there.
    pub usable_bytes: u64,
    /// Partitions in it that were asked for, with the bytes of their segments.
    pub partitions: Vec<(TopicPartition, u64)>,
    /// Partitions that are on their way to it.
    pub arriving: Vec<ArrivingPartition>,
}

/// A partition on its way to another log directory.
#[derive(Debug)]
pub struct ArrivingPartition {
    /// Its name.
    pub name: TopicPartition,
    /// Bytes of records that are there already.
    pub bytes: u64,
    /// Offsets that are not there yet, by whole segments.
    pub offset_lag: i64,
}

/// What came of a proposal. The error is for when the metadata log could not take it.
#[derive(Debug)]
pub enum ProposalAnswer {
    /// To [`Proposal::CreateTopics`].
    TopicsCreated(Result<Vec<TopicCreation>, ErrorCode>),
    /// To [`Proposal::CreatePartitions`].
    PartitionsCreated(Result<Vec<PartitionsCreation>, ErrorCode>),
    /// To [`Proposal::UpdateFeatures`]: the features named, or why none is updated.
    FeaturesUpdated(Result<Result<Vec<String>, FeatureUpdateError>, ErrorCode>),
    /// To [`Proposal::AlterScram`]: what was decided, and why it was not stored.
    ScramAltered(Vec<ScramAlterationResult>, Option<ErrorCode>),
    /// To [`Proposal::AlterClientQuotas`]: what was decided, and why it was not stored.
    ClientQuotasAltered(Vec<QuotaAlterationResult>, Option<ErrorCode>),
    /// To [`Proposal::DeleteTopics`].
    TopicsDeleted(Result<Vec<TopicDeletion>, ErrorCode>),
    /// To [`Proposal::AlterConfigs`].
    ConfigsAltered {
        /// Whether the request was an incremental one.
        is_incremental: bool,
        /// What was decided.
        altered: Vec<ConfigAlteration>,
        /// Why it was not stored.
        failed: Option<ErrorCode>,
    },
    /// To [`Proposal::ProducerId`].
    ProducerId(Result<i64, ErrorCode>),
    /// To [`Effect::DeleteRecords`](crate::Effect::DeleteRecords).
    RecordsDeleted(Vec<DeletedRecords>),
    /// To [`Effect::DescribeLogDirs`](crate::Effect::DescribeLogDirs).
    LogDirsDescribed(Vec<LogDirectoryDescription>),
}
