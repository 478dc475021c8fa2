//! DescribeConfigs, versions 1 – 4.
//!
//! 1: synonyms on request (KIP-226); 3: types and documentation (KIP-569); 4: flexible. Answered at once,
//! from the metadata image and what the broker was started with. A resource that is named twice is answered
//! twice; names of configs that are not there are left out.
//!
//! An answer is bounded, which Kafka's is not: a short request could ask for gigabytes. What comes after
//! [`ENTRIES_MAX`] entries is INVALID_REQUEST.

use std::borrow::Cow;
use std::collections::BTreeSet;

use millstream_metadata::{
    BrokerLayers, ConfigResource, ConfigSource, ConfigType, Configs, DescribedConfig, GroupLayers,
    LogLevel, TopicImage, describe_broker, describe_client_metrics, describe_group, describe_topic,
};
use millstream_model::{NodeId, check_topic_name};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use millstream_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};

use crate::dispatch::Request;
use crate::{Broker, Handled, View};

/// Configs and synonyms in one answer. Enough for all configs of ten thousand topics.
const ENTRIES_MAX: usize = 400_000;

static NO_CONFIGS: Configs = Configs::new();

/// The type of a config that nobody knows.
const TYPE_UNKNOWN: i8 = 0;

/// Why a resource is not described.
struct Refusal {
    code: ErrorCode,
    message: String,
}

impl Refusal {
    fn invalid(message: String) -> Refusal {
        Refusal {
            code: ErrorCode::InvalidRequest,
            message,
        }
    }
}

/// What is asked of every resource.
#[derive(Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

pub(crate) fn handle(
    broker: &Broker,
    request: &Request<'_>,
    body: &DescribeConfigsRequest<'_>,
) -> Handled {
    let view = broker.view();
    let detail = Detail {
        synonyms: body.include_synonyms,
        documentation: body.include_documentation,
    };
    let mut entries = 0;
    let mut results = Vec::with_capacity(body.resources.len());
    for resource in &body.resources {
        let described = match entries {
            ..ENTRIES_MAX => describe(broker, &view, resource, detail),
            _ => Err(Refusal::invalid(format!(
                "the answer has {entries} entries before this resource, and more than \
                 {ENTRIES_MAX} are not sent: ask for fewer resources, or name configuration_keys"
            ))),
        };
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: Cow::Borrowed(&resource.resource_name),
            error_message: Some(Cow::Borrowed("")),
            ..DescribeConfigsResult::default()
        };
        match described {
            Ok(configs) => {
                let synonyms: usize = configs.iter().map(|config| config.synonyms.len()).sum();
                entries += configs.len() + synonyms;
                result.configs = configs;
            }
            Err(refusal) => {
                result.error_code = refusal.code.code();
                result.error_message = Some(Cow::Owned(refusal.message));
            }
        }
        results.push(result);
    }
    request.reply.answered(&DescribeConfigsResponse {
        results,
        ..DescribeConfigsResponse::default()
    })
}

fn describe(
    broker: &Broker,
    view: &View,
    asked: &DescribeConfigsResource<'_>,
    detail: Detail,
) -> Result<Vec<DescribeConfigsResourceResult<'static>>, Refusal> {
    let keys = asked.configuration_keys.as_deref().unwrap_or_default();
    let keys: BTreeSet<&str> = keys.iter().map(|key| &**key).collect();
    let is_wanted = |name: &str| keys.is_empty() || keys.contains(name);
    let config = &broker.config;
    let layers = BrokerLayers::new(&view.image, config.node_id, &config.file_configs);
    let name = &*asked.resource_name;
    let code = asked.resource_type;
    let described = match ConfigResource::from_code(i32::from(code)) {
        Some(ConfigResource::Topic) => {
            let topic = find_topic(view, name)?;
            describe_topic(&layers, &topic.configs, is_wanted)
        }
        Some(ConfigResource::Broker) => {
            check_broker(config.node_id, name)?;
            describe_broker(&config.known_configs, &layers, name.is_empty(), is_wanted)
        }
        Some(ConfigResource::BrokerLogger) => {
            if name.parse() != Ok(config.node_id.0) {
                let node = config.node_id;
                let message = format!("loggers are those of the broker that is asked, {node}");
                return Err(Refusal::invalid(message));
            }
            let loggers = broker.loggers.list().into_iter();
            let wanted = loggers.filter(|(logger, _)| is_wanted(logger));
            return Ok(wanted
                .map(|(logger, level)| logger_entry(logger, level))
                .collect());
        }
        Some(resource @ ConfigResource::ClientMetrics) => {
            check_named("client metrics subscription", name)?;
            let own = view.image.configs(resource, name).unwrap_or(&NO_CONFIGS);
            describe_client_metrics(own, is_wanted)
        }
        Some(resource @ ConfigResource::Group) => {
            check_named("group", name)?;
            let own = view.image.configs(resource, name).unwrap_or(&NO_CONFIGS);
            let layers = GroupLayers {
                broker: layers,
                known: &config.known_configs,
            };
            describe_group(&layers, own, is_wanted)
        }
        None => {
            let message = format!("resource type {code} has no configs");
            return Err(Refusal::invalid(message));
        }
    };
    Ok(described
        .into_iter()
        .map(|config| entry(config, detail))
        .collect())
}

fn find_topic<'v>(view: &'v View, name: &str) -> Result<&'v TopicImage, Refusal> {
    check_topic_name(name).map_err(|error| Refusal {
        code: ErrorCode::InvalidTopicException,
        message: error.to_string(),
    })?;
    let topic = view.image.topic(name).ok_or(Refusal {
        code: ErrorCode::UnknownTopicOrPartition,
        message: String::new(),
    })?;
    Ok(topic)
}

/// Any name will do but the empty one: there need not be a group or a subscription.
fn check_named(kind: &str, name: &str) -> Result<(), Refusal> {
    match name {
        "" => Err(Refusal::invalid(format!("a {kind} is named, not empty"))),
        _ => Ok(()),
    }
}

/// Checks that a resource is this broker, or the empty name for all.
fn check_broker(node: NodeId, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.parse() == Ok(node.0) {
        return Ok(());
    }
    let shown: String = name.chars().take(200).collect();
    Err(Refusal::invalid(match name.parse::<i32>() {
        Ok(asked) => {
            format!("this is broker {node}: it knows its own configs, and not those of {asked}")
        }
        Err(_) => {
            format!("a broker is named by its node id, or by the empty name for all, not {shown:?}")
        }
    }))
}

fn entry(config: DescribedConfig, detail: Detail) -> DescribeConfigsResourceResult<'static> {
    let synonyms = config.synonyms.into_iter().filter(|_| detail.synonyms);
    DescribeConfigsResourceResult {
        name: config.name,
        value: config.value.map(Cow::Owned),
        read_only: config.is_read_only,
        config_source: config.source.code(),
        is_sensitive: config.is_sensitive,
        synonyms: synonyms
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name,
                value: synonym.value.map(Cow::Owned),
                source: synonym.source.code(),
            })
            .collect(),
        config_type: config.type_.map_or(TYPE_UNKNOWN, ConfigType::code),
        documentation: config
            .doc
            .filter(|_| detail.documentation)
            .map(Cow::Borrowed),
    }
}

fn logger_entry(logger: String, level: LogLevel) -> DescribeConfigsResourceResult<'static> {
    DescribeConfigsResourceResult {
        name: Cow::Owned(logger),
        value: Some(Cow::Borrowed(level.name())),
        config_source: ConfigSource::BrokerLogger.code(),
        ..DescribeConfigsResourceResult::default()
    }
}
