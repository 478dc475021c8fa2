//! Requests about configs, and their answers cut to what tests look at.

use std::borrow::Cow;

use millstream_protocol::messages::alter_configs_request::{
    AlterConfigsRequest, AlterConfigsResource, AlterableConfig,
};
use millstream_protocol::messages::alter_configs_response::AlterConfigsResponse;
use millstream_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use millstream_protocol::messages::describe_configs_response::DescribeConfigsResponse;
use millstream_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as ChangedResource, AlterableConfig as ChangedConfig,
    IncrementalAlterConfigsRequest,
};
use millstream_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;

use super::connection::{Connection, read};

pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;

pub const SET: i8 = 0;
pub const DELETE: i8 = 1;
pub const APPEND: i8 = 2;
pub const SUBTRACT: i8 = 3;

/// One config as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    pub value: Option<String>,
    pub source: i8,
    pub read_only: bool,
    pub sensitive: bool,
    pub type_: i8,
    /// Name, value and source.
    pub synonyms: Vec<(String, Option<String>, i8)>,
    pub documentation: Option<String>,
}

/// What one resource is answered: its configs, or its code and message.
pub type Answer = Result<Vec<Described>, (i16, String)>;

/// Asks for everything there is to say of one resource.
pub fn describe(client: &mut Connection<'_>, type_: i8, name: &str) -> Answer {
    describe_keys(client, type_, name, None)
}

/// The same of some configs.
pub fn describe_keys(
    client: &mut Connection<'_>,
    type_: i8,
    name: &str,
    keys: Option<&[&str]>,
) -> Answer {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: type_,
            resource_name: name.to_owned().into(),
            configuration_keys: keys.map(|keys| keys.iter().map(|k| owned(k)).collect()),
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    let mut answers = describe_all(client, 4, &request);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// Sends a request to describe.
pub fn describe_all(
    client: &mut Connection<'_>,
    version: i16,
    request: &DescribeConfigsRequest<'_>,
) -> Vec<Answer> {
    client.send(version, request).unwrap();
    let bytes = client.receive().unwrap();
    let answer: DescribeConfigsResponse<'_> =
        read::<DescribeConfigsRequest<'_>, _>(&bytes, version);
    let text = |text: &Option<Cow<'_, str>>| text.as_ref().map(|text| text.to_string());
    let results = answer.results.iter().map(|result| match result.error_code {
        0 => Ok(result
            .configs
            .iter()
            .map(|config| Described {
                name: config.name.to_string(),
                value: text(&config.value),
                source: config.config_source,
                read_only: config.read_only,
                sensitive: config.is_sensitive,
                type_: config.config_type,
                synonyms: config
                    .synonyms
                    .iter()
                    .map(|s| (s.name.to_string(), text(&s.value), s.source))
                    .collect(),
                documentation: text(&config.documentation),
            })
            .collect()),
        code => Err((code, text(&result.error_message).unwrap())),
    });
    results.collect()
}

/// One config of a resource.
pub fn config(client: &mut Connection<'_>, type_: i8, name: &str, key: &str) -> Described {
    let mut described = describe_keys(client, type_, name, Some(&[key])).unwrap();
    assert_eq!(described.len(), 1, "{key} of {name}");
    described.remove(0)
}

/// The value of a config and its source.
pub fn value(client: &mut Connection<'_>, type_: i8, name: &str, key: &str) -> (String, i8) {
    let config = config(client, type_, name, key);
    (config.value.unwrap(), config.source)
}

/// Changes single configs of one resource: operation, name and value each. Answers the code.
pub fn change(
    client: &mut Connection<'_>,
    type_: i8,
    name: &str,
    changes: &[(i8, &str, Option<&str>)],
) -> i16 {
    change_all(client, &[(type_, name, changes)], false)[0].0
}

/// Sends such a change; what it gives reads the answer.
pub fn send_change(
    client: &mut Connection<'_>,
    type_: i8,
    name: &str,
    changes: &[(i8, &str, Option<&str>)],
) -> impl Fn(&mut Connection<'_>) -> i16 + use<> {
    let request = change_request(&[(type_, name, changes)], false);
    client.send(1, &request).unwrap();
    |client| changed(client)[0].2
}

/// The same of several. Answers code and message of each.
#[allow(clippy::type_complexity)]
pub fn change_all(
    client: &mut Connection<'_>,
    resources: &[(i8, &str, &[(i8, &str, Option<&str>)])],
    validate_only: bool,
) -> Vec<(i16, String)> {
    client
        .send(1, &change_request(resources, validate_only))
        .unwrap();
    let answers = changed(client);
    let named = answers
        .iter()
        .map(|(type_, name, ..)| (*type_, name.as_str()));
    assert!(named.eq(resources.iter().map(|(type_, name, _)| (*type_, *name))));
    let answers = answers.into_iter();
    answers
        .map(|(_, _, code, message)| (code, message))
        .collect()
}

#[allow(clippy::type_complexity)]
fn change_request(
    resources: &[(i8, &str, &[(i8, &str, Option<&str>)])],
    validate_only: bool,
) -> IncrementalAlterConfigsRequest<'static> {
    let configs = |changes: &[(i8, &str, Option<&str>)]| {
        let changes = changes.iter();
        changes
            .map(|(operation, name, value)| ChangedConfig {
                name: owned(name),
                config_operation: *operation,
                value: value.map(owned),
            })
            .collect()
    };
    IncrementalAlterConfigsRequest {
        resources: resources
            .iter()
            .map(|(type_, name, changes)| ChangedResource {
                resource_type: *type_,
                resource_name: owned(name),
                configs: configs(changes),
            })
            .collect(),
        validate_only,
    }
}

/// The next answer, that to such a request: type, name, code and message each.
fn changed(client: &mut Connection<'_>) -> Vec<(i8, String, i16, String)> {
    let bytes = client.receive().unwrap();
    let answer: IncrementalAlterConfigsResponse<'_> =
        read::<IncrementalAlterConfigsRequest<'_>, _>(&bytes, 1);
    let responses = answer.responses.iter().map(|response| {
        let message = response.error_message.as_deref().unwrap_or_default();
        let (type_, name) = (response.resource_type, response.resource_name.to_string());
        (type_, name, response.error_code, message.to_owned())
    });
    responses.collect()
}

/// Replaces all configs of one resource. Answers the code.
pub fn replace(
    client: &mut Connection<'_>,
    type_: i8,
    name: &str,
    configs: &[(&str, Option<&str>)],
    validate_only: bool,
) -> i16 {
    let request = AlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: type_,
            resource_name: owned(name),
            configs: configs
                .iter()
                .map(|(name, value)| AlterableConfig {
                    name: owned(name),
                    value: value.map(owned),
                })
                .collect(),
        }],
        validate_only,
    };
    client.send(2, &request).unwrap();
    let bytes = client.receive().unwrap();
    let answer: AlterConfigsResponse<'_> = read::<AlterConfigsRequest<'_>, _>(&bytes, 2);
    assert_eq!(answer.responses.len(), 1);
    assert_eq!(answer.responses[0].resource_name, name);
    answer.responses[0].error_code
}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}
