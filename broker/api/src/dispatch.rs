//! From a frame to the handler of its request.

use bytes::Bytes;
use millstream_protocol::ApiKey;
use millstream_protocol::frame::decode_request_header;
use millstream_protocol::messages::{
    AlterClientQuotasRequest, AlterConfigsRequest, AlterPartitionReassignmentsRequest,
    AlterReplicaLogDirsRequest, AlterUserScramCredentialsRequest, ApiVersionsRequest,
    CreateAclsRequest, CreateDelegationTokenRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteAclsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeAclsRequest, DescribeClientQuotasRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeDelegationTokenRequest, DescribeGroupsRequest,
    DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest,
    DescribeTopicPartitionsRequest, DescribeUserScramCredentialsRequest, ElectLeadersRequest,
    ExpireDelegationTokenRequest, FetchRequest, FindCoordinatorRequest,
    GetTelemetrySubscriptionsRequest, HeartbeatRequest, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListConfigResourcesRequest,
    ListGroupsRequest, ListOffsetsRequest, ListPartitionReassignmentsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    ProduceRequest, PushTelemetryRequest, RenewDelegationTokenRequest, SaslAuthenticateRequest,
    SaslHandshakeRequest, SyncGroupRequest, UpdateFeaturesRequest,
};
use millstream_protocol::wire::{Decoder, Message};

use crate::context::CloseReason;
use crate::reply::Reply;
use crate::supported::is_answered;
use crate::{Broker, Context, Handled, handlers};

/// A decoded request header, without what only the reply needs.
pub(crate) struct Request<'a> {
    pub reply: Reply,
    pub client_id: &'a str,
    /// The whole of it; the request's bytes are slices of this.
    pub frame: &'a Bytes,
}

/// The kind of the request in a frame; `None` for what is none that anybody knows.
#[must_use]
pub fn kind_of(frame: &Bytes) -> Option<ApiKey> {
    let key = frame.first_chunk()?;
    ApiKey::from_i16(i16::from_be_bytes(*key))
}

/// Handles one frame (without its length prefix). Never panics on input: what cannot be parsed
/// closes the connection, as with Kafka.
pub fn handle_frame(broker: &Broker, context: &mut Context<'_>, frame: &Bytes) -> Handled {
    match route(broker, context, frame) {
        Ok(handled) => handled,
        Err(reason) => {
            broker.counters.note_refused();
            Handled::Close(reason)
        }
    }
}

fn route(
    broker: &Broker,
    context: &mut Context<'_>,
    frame: &Bytes,
) -> Result<Handled, CloseReason> {
    let mut decoder = Decoder::new(frame);
    let malformed = |cause| CloseReason::Malformed {
        request: "unknown",
        cause,
    };
    let header = decode_request_header(&mut decoder).map_err(malformed)?;
    let (code, version) = (header.request_api_key, header.request_api_version);
    let unknown = CloseReason::NotAdvertised {
        api_key: code,
        version,
    };
    let api_key = ApiKey::from_i16(code).ok_or(unknown)?;
    let reply = Reply {
        api_key,
        version,
        correlation_id: header.correlation_id,
    };
    if !is_answered(api_key, version) {
        if api_key == ApiKey::ApiVersions {
            return Ok(handlers::api_versions::refuse_version(reply));
        }
        return Err(CloseReason::NotAdvertised {
            api_key: code,
            version,
        });
    }
    broker.counters.note_request(api_key, version, frame.len());
    let client_id = header.client_id.unwrap_or_default();
    let request = Request {
        reply,
        client_id: &client_id,
        frame,
    };
    let decoder = &mut decoder;
    Ok(match api_key {
        ApiKey::Produce => {
            let body: ProduceRequest<'_> = body(decoder, reply)?;
            handlers::produce::handle(broker, context, &request, body)
        }
        ApiKey::Fetch => {
            let body: FetchRequest<'_> = body(decoder, reply)?;
            handlers::fetch::handle(broker, context, &request, body)
        }
        ApiKey::ListOffsets => {
            let body: ListOffsetsRequest<'_> = body(decoder, reply)?;
            handlers::list_offsets::handle(broker, context, &request, &body)
        }
        ApiKey::Metadata => {
            let body: MetadataRequest<'_> = body(decoder, reply)?;
            handlers::metadata::handle(broker, context, &request, &body)
        }
        ApiKey::OffsetCommit => {
            let body: OffsetCommitRequest<'_> = body(decoder, reply)?;
            handlers::offset_commit::handle(broker, context, &request, &body)
        }
        ApiKey::OffsetFetch => {
            let body: OffsetFetchRequest<'_> = body(decoder, reply)?;
            handlers::offset_fetch::handle(broker, context, &request, &body)
        }
        ApiKey::FindCoordinator => {
            let body: FindCoordinatorRequest<'_> = body(decoder, reply)?;
            handlers::find_coordinator::handle(broker, context, &request, &body)
        }
        ApiKey::JoinGroup => {
            let body: JoinGroupRequest<'_> = body(decoder, reply)?;
            handlers::group_membership::join(broker, context, &request, &body)
        }
        ApiKey::SyncGroup => {
            let body: SyncGroupRequest<'_> = body(decoder, reply)?;
            handlers::group_membership::sync(broker, context, &request, &body)
        }
        ApiKey::Heartbeat => {
            let body: HeartbeatRequest<'_> = body(decoder, reply)?;
            handlers::group_membership::heartbeat(broker, context, &request, &body)
        }
        ApiKey::LeaveGroup => {
            let body: LeaveGroupRequest<'_> = body(decoder, reply)?;
            handlers::group_membership::leave(broker, context, &request, &body)
        }
        ApiKey::DescribeGroups => {
            let body: DescribeGroupsRequest<'_> = body(decoder, reply)?;
            handlers::describe_groups::handle(broker, context, &request, &body)
        }
        ApiKey::ListGroups => {
            let body: ListGroupsRequest<'_> = body(decoder, reply)?;
            handlers::list_groups::handle(broker, context, &request, &body)
        }
        ApiKey::ApiVersions => {
            let body: ApiVersionsRequest<'_> = body(decoder, reply)?;
            handlers::api_versions::handle(broker, &request, &body)
        }
        ApiKey::CreateTopics => {
            let body: CreateTopicsRequest<'_> = body(decoder, reply)?;
            handlers::create_topics::handle(context, &request, &body)
        }
        ApiKey::DeleteTopics => {
            let body: DeleteTopicsRequest<'_> = body(decoder, reply)?;
            handlers::delete_topics::handle(broker, context, &request, &body)
        }
        ApiKey::DeleteRecords => {
            let body: DeleteRecordsRequest<'_> = body(decoder, reply)?;
            handlers::delete_records::handle(broker, context, &request, &body)
        }
        ApiKey::InitProducerId => {
            let body: InitProducerIdRequest<'_> = body(decoder, reply)?;
            handlers::init_producer_id::handle(broker, context, &request, &body)
        }
        ApiKey::OffsetForLeaderEpoch => {
            let body: OffsetForLeaderEpochRequest<'_> = body(decoder, reply)?;
            handlers::offset_for_leader_epoch::handle(broker, context, &request, &body)
        }
        ApiKey::DeleteGroups => {
            let body: DeleteGroupsRequest<'_> = body(decoder, reply)?;
            handlers::delete_groups::handle(broker, context, &request, &body)
        }
        ApiKey::OffsetDelete => {
            let body: OffsetDeleteRequest<'_> = body(decoder, reply)?;
            handlers::offset_delete::handle(broker, context, &request, &body)
        }
        ApiKey::DescribeConfigs => {
            let body: DescribeConfigsRequest<'_> = body(decoder, reply)?;
            handlers::describe_configs::handle(broker, &request, &body)
        }
        ApiKey::AlterConfigs => {
            let body: AlterConfigsRequest<'_> = body(decoder, reply)?;
            handlers::alter_configs::replace(context, &request, &body)
        }
        ApiKey::IncrementalAlterConfigs => {
            let body: IncrementalAlterConfigsRequest<'_> = body(decoder, reply)?;
            handlers::alter_configs::change(context, &request, &body)
        }
        ApiKey::CreatePartitions => {
            let body: CreatePartitionsRequest<'_> = body(decoder, reply)?;
            handlers::create_partitions::handle(context, &request, &body)
        }
        ApiKey::ElectLeaders => {
            let body: ElectLeadersRequest<'_> = body(decoder, reply)?;
            handlers::elect_leaders::handle(broker, &request, &body)
        }
        ApiKey::AlterPartitionReassignments => {
            let body: AlterPartitionReassignmentsRequest<'_> = body(decoder, reply)?;
            handlers::alter_partition_reassignments::handle(broker, &request, &body)
        }
        ApiKey::ListPartitionReassignments => {
            let _none_is_under_way: ListPartitionReassignmentsRequest<'_> = body(decoder, reply)?;
            handlers::list_partition_reassignments::handle(&request)
        }
        ApiKey::DescribeQuorum => {
            let body: DescribeQuorumRequest<'_> = body(decoder, reply)?;
            handlers::describe_quorum::handle(broker, context, &request, &body)
        }
        ApiKey::UpdateFeatures => {
            let body: UpdateFeaturesRequest<'_> = body(decoder, reply)?;
            handlers::update_features::handle(context, &request, &body)
        }
        ApiKey::DescribeCluster => {
            let body: DescribeClusterRequest = body(decoder, reply)?;
            handlers::describe_cluster::handle(broker, context, &request, &body)
        }
        ApiKey::DescribeTopicPartitions => {
            let body: DescribeTopicPartitionsRequest<'_> = body(decoder, reply)?;
            handlers::describe_topic_partitions::handle(broker, &request, &body)
        }
        ApiKey::AlterReplicaLogDirs => {
            let body: AlterReplicaLogDirsRequest<'_> = body(decoder, reply)?;
            handlers::alter_replica_log_dirs::handle(broker, context, &request, &body)
        }
        ApiKey::DescribeLogDirs => {
            let body: DescribeLogDirsRequest<'_> = body(decoder, reply)?;
            handlers::describe_log_dirs::handle(context, &request, &body)
        }
        ApiKey::DescribeProducers => {
            let body: DescribeProducersRequest<'_> = body(decoder, reply)?;
            handlers::describe_producers::handle(broker, context, &request, &body)
        }
        ApiKey::GetTelemetrySubscriptions => {
            let body: GetTelemetrySubscriptionsRequest = body(decoder, reply)?;
            handlers::telemetry::subscriptions(broker, &request, &body)
        }
        ApiKey::PushTelemetry => {
            let body: PushTelemetryRequest<'_> = body(decoder, reply)?;
            handlers::telemetry::push(broker, &request, &body)
        }
        ApiKey::ListConfigResources => {
            let body: ListConfigResourcesRequest = body(decoder, reply)?;
            handlers::list_config_resources::handle(broker, &request, &body)
        }
        ApiKey::SaslHandshake => {
            let _refused_whatever_it_says: SaslHandshakeRequest<'_> = body(decoder, reply)?;
            handlers::sasl::handshake(&request)
        }
        ApiKey::SaslAuthenticate => {
            let _refused_whatever_it_says: SaslAuthenticateRequest<'_> = body(decoder, reply)?;
            handlers::sasl::authenticate(&request)
        }
        ApiKey::DescribeAcls => {
            let _refused_whatever_it_says: DescribeAclsRequest<'_> = body(decoder, reply)?;
            handlers::acls::describe(&request)
        }
        ApiKey::CreateAcls => {
            let body: CreateAclsRequest<'_> = body(decoder, reply)?;
            handlers::acls::create(&request, &body)
        }
        ApiKey::DeleteAcls => {
            let body: DeleteAclsRequest<'_> = body(decoder, reply)?;
            handlers::acls::delete(&request, &body)
        }
        ApiKey::CreateDelegationToken => {
            let body: CreateDelegationTokenRequest<'_> = body(decoder, reply)?;
            handlers::delegation_tokens::create(&request, &body)
        }
        ApiKey::RenewDelegationToken => {
            let _refused_whatever_it_says: RenewDelegationTokenRequest<'_> = body(decoder, reply)?;
            handlers::delegation_tokens::renew(&request)
        }
        ApiKey::ExpireDelegationToken => {
            let _refused_whatever_it_says: ExpireDelegationTokenRequest<'_> = body(decoder, reply)?;
            handlers::delegation_tokens::expire(&request)
        }
        ApiKey::DescribeDelegationToken => {
            let _refused_whatever_it_says: DescribeDelegationTokenRequest<'_> =
                body(decoder, reply)?;
            handlers::delegation_tokens::describe(&request)
        }
        ApiKey::DescribeClientQuotas => {
            let body: DescribeClientQuotasRequest<'_> = body(decoder, reply)?;
            handlers::describe_client_quotas::handle(broker, &request, &body)
        }
        ApiKey::AlterClientQuotas => {
            let body: AlterClientQuotasRequest<'_> = body(decoder, reply)?;
            handlers::alter_client_quotas::handle(context, &request, &body)
        }
        ApiKey::DescribeUserScramCredentials => {
            let body: DescribeUserScramCredentialsRequest<'_> = body(decoder, reply)?;
            handlers::describe_user_scram_credentials::handle(broker, &request, &body)
        }
        ApiKey::AlterUserScramCredentials => {
            let body: AlterUserScramCredentialsRequest<'_> = body(decoder, reply)?;
            handlers::alter_user_scram_credentials::handle(context, &request, &body)
        }
        _ => {
            return Err(CloseReason::NotAdvertised {
                api_key: code,
                version,
            });
        }
    })
}

fn body<'a, M: Message<'a>>(decoder: &mut Decoder<'a>, reply: Reply) -> Result<M, CloseReason> {
    M::decode(decoder, reply.version).map_err(|cause| CloseReason::Malformed {
        request: reply.api_key.name(),
        cause,
    })
}
