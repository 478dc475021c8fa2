//! DescribeCluster, versions 0 – 2 (KIP-700).
//!
//! Which brokers there are, without any topics. 1: endpoint types (KIP-919): a client that looks for
//! controllers is told that this is a broker; 2: fenced brokers (KIP-1073), of which there are none: a
//! broker that is alone answers only while it is in service.

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use millstream_protocol::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};

use crate::dispatch::Request;
use crate::handlers::metadata::{CLUSTER_OPERATIONS, OPERATIONS_OMITTED};
use crate::{Broker, Context, Handled};

const BROKER: i8 = 1;
const CONTROLLER: i8 = 2;

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &DescribeClusterRequest,
) -> Handled {
    match body.endpoint_type {
        BROKER => {}
        CONTROLLER => {
            let reason = "the request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return refuse(request, ErrorCode::MismatchedEndpointType, reason.into());
        }
        unknown => {
            let reason = format!("unsupported endpoint type {unknown}");
            return refuse(request, ErrorCode::UnsupportedEndpointType, reason.into());
        }
    }
    let advertised = &context.client.advertised;
    request.reply.answered(&DescribeClusterResponse {
        cluster_id: Cow::Borrowed(&broker.config.cluster_id),
        controller_id: broker.config.node_id.0,
        brokers: vec![DescribeClusterBroker {
            broker_id: broker.config.node_id.0,
            host: Cow::Borrowed(&advertised.host),
            port: i32::from(advertised.port),
            rack: broker.config.rack.as_deref().map(Cow::Borrowed),
            is_fenced: false,
        }],
        cluster_authorized_operations: match body.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => OPERATIONS_OMITTED,
        },
        ..DescribeClusterResponse::default()
    })
}

fn refuse(request: &Request<'_>, code: ErrorCode, reason: Cow<'static, str>) -> Handled {
    request.reply.answered(&DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(reason),
        ..DescribeClusterResponse::default()
    })
}
