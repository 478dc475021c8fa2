//! ListConfigResources, versions 0 – 1 (KIP-1142): names that configs can be asked for.
//!
//! 0: client metrics subscriptions only (as ListClientMetricsResources, KIP-714); 1: of any types, none
//! standing for all. Topics and brokers are those there are; groups and subscriptions those with configs of
//! their own. A type nobody knows is UNSUPPORTED_VERSION.

use std::borrow::Cow;

use millstream_metadata::ConfigResource;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use millstream_protocol::messages::list_config_resources_response::{
    ConfigResource as ListedResource, ListConfigResourcesResponse,
};

use crate::dispatch::Request;
use crate::{Broker, Handled, View};

pub(crate) fn handle(
    broker: &Broker,
    request: &Request<'_>,
    body: &ListConfigResourcesRequest,
) -> Handled {
    let wanted = match (request.reply.version, body.resource_types.as_slice()) {
        (0, _) => Some(vec![ConfigResource::ClientMetrics]),
        (_, []) => Some(ConfigResource::ALL.to_vec()),
        (_, types) => {
            let known = |code: &i8| ConfigResource::from_code(i32::from(*code));
            types.iter().map(known).collect()
        }
    };
    let Some(mut wanted) = wanted else {
        return request.reply.answered(&ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..ListConfigResourcesResponse::default()
        });
    };
    wanted.sort_unstable();
    wanted.dedup();
    let view = broker.view();
    let listed = wanted.into_iter().flat_map(|resource| {
        names(&view, resource)
            .into_iter()
            .map(move |name| ListedResource {
                resource_name: name,
                resource_type: resource.code(),
            })
    });
    request.reply.answered(&ListConfigResourcesResponse {
        config_resources: listed.collect(),
        ..ListConfigResourcesResponse::default()
    })
}

fn names(view: &View, resource: ConfigResource) -> Vec<Cow<'_, str>> {
    let image = &view.image;
    match resource {
        ConfigResource::Topic => {
            let topics = image.topics();
            topics.map(|topic| Cow::Borrowed(&*topic.name)).collect()
        }
        ConfigResource::Broker | ConfigResource::BrokerLogger => {
            let brokers = image.brokers().keys();
            brokers.map(|node| Cow::Owned(node.to_string())).collect()
        }
        ConfigResource::ClientMetrics | ConfigResource::Group => {
            let names = image.config_names(resource);
            names.map(Cow::Borrowed).collect()
        }
    }
}
