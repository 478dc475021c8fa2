//! Changing configs of groups and of client metrics subscriptions. Neither has to be there: a group may be
//! configured before its first member comes, and a subscription is nothing but its configs.

use millstream_model::NodeId;

use crate::alter_broker_configs::CONFIG_NAME_BYTES_MAX;
use crate::alter_configs::{AlterConfigsError, ResourceChange};
use crate::alter_configs::{configs_wanted, records_between, shown, values_wanted};
use crate::client_metrics_config_def::{self, client_metrics_config_def};
use crate::config_value::ConfigType;
use crate::controller::Controller;
use crate::group_config_def::{GroupLayers, group_config_def};
use crate::image::{Configs, Image};
use crate::record::Record;
use crate::resource::ConfigResource;
use crate::topic_config::BrokerLayers;

/// Groups that may have configs of their own.
pub const CONFIGURED_GROUPS_MAX: usize = 10_000;

/// Client metrics subscriptions.
pub const SUBSCRIPTIONS_MAX: usize = 1000;

impl Controller {
    pub(crate) fn alter_group(
        &self,
        image: &Image,
        node: NodeId,
        asked: &ResourceChange,
        is_incremental: bool,
    ) -> Result<Vec<Record>, AlterConfigsError> {
        let empty = Configs::new();
        let present = image
            .configs(ConfigResource::Group, &asked.name)
            .unwrap_or(&empty);
        let values = values_wanted(&asked.changes, is_incremental, present, |name| {
            let def = group_config_def(name).filter(|def| def.type_ == ConfigType::List);
            def.map(|def| def.default.unwrap_or_default())
        })?;
        check_named(&asked.name, "group")?;
        let layers = GroupLayers {
            broker: BrokerLayers::new(image, node, &self.settings.file_configs),
            known: &self.settings.known_configs,
        };
        let check = |name: &str, value: &str| {
            if value.len() > CONFIG_NAME_BYTES_MAX {
                let (name, length) = (shown(name), value.len());
                let max = CONFIG_NAME_BYTES_MAX;
                return Err(AlterConfigsError::ValueTooLong { name, length, max });
            }
            Ok(layers.check(name, value)?)
        };
        let wanted = configs_wanted(values, is_incremental, present, check)?;
        layers.check_together(&wanted)?;
        let max = CONFIGURED_GROUPS_MAX;
        check_room(
            image,
            ConfigResource::Group,
            &asked.name,
            "groups with configs",
            max,
        )?;
        Ok(records_between(
            ConfigResource::Group,
            &asked.name,
            present,
            &wanted,
        ))
    }

    pub(crate) fn alter_client_metrics(
        &self,
        image: &Image,
        asked: &ResourceChange,
        is_incremental: bool,
    ) -> Result<Vec<Record>, AlterConfigsError> {
        let resource = ConfigResource::ClientMetrics;
        let empty = Configs::new();
        let present = image.configs(resource, &asked.name).unwrap_or(&empty);
        let values = values_wanted(&asked.changes, is_incremental, present, |name| {
            let def = client_metrics_config_def(name).filter(|def| def.type_ == ConfigType::List);
            def.map(|def| def.default)
        })?;
        check_named(&asked.name, "client metrics subscription")?;
        let check = |name: &str, value: &str| Ok(client_metrics_config_def::check(name, value)?);
        let wanted = configs_wanted(values, is_incremental, present, check)?;
        check_room(
            image,
            resource,
            &asked.name,
            "client metrics subscriptions",
            SUBSCRIPTIONS_MAX,
        )?;
        Ok(records_between(resource, &asked.name, present, &wanted))
    }
}

fn check_named(name: &str, kind: &'static str) -> Result<(), AlterConfigsError> {
    match name.len() {
        0 => Err(AlterConfigsError::EmptyName(kind)),
        1..=CONFIG_NAME_BYTES_MAX => Ok(()),
        length => Err(AlterConfigsError::NameTooLong { kind, length }),
    }
}

/// Checks that another resource of a kind may have configs. Those of one request may go a little beyond.
fn check_room(
    image: &Image,
    resource: ConfigResource,
    name: &str,
    kind: &'static str,
    max: usize,
) -> Result<(), AlterConfigsError> {
    let is_new = image.configs(resource, name).is_none();
    match is_new && image.config_names(resource).len() >= max {
        true => Err(AlterConfigsError::TooManyResources { kind, max }),
        false => Ok(()),
    }
}
