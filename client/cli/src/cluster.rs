//! How a command reaches its cluster.

use std::sync::Arc;

use anyhow::{Context, bail};
use millstream_client::{ClientError, Cluster, ClusterConfig, TopicMetadata};

/// Where a broker is looked for when nothing is said.
pub const DEFAULT_BOOTSTRAP: &str = "127.0.0.1:9092";
/// The environment variable that may say it.
const VARIABLE: &str = "MILLSTREAM_BOOTSTRAP";

/// The address of the cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArgs {
    /// Address of one or several brokers, HOST:PORT[,HOST:PORT]; default: $MILLSTREAM_BOOTSTRAP, else 127.0.0.1:9092
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: Option<String>,
}

impl ClusterArgs {
    /// The addresses to try, separated by commas.
    pub fn addresses(&self) -> String {
        self.bootstrap
            .clone()
            .or_else(|| std::env::var(VARIABLE).ok().filter(|set| !set.is_empty()))
            .unwrap_or_else(|| DEFAULT_BOOTSTRAP.to_owned())
    }

    /// The settings for these addresses; topics are never created by asking for them.
    pub fn config(&self) -> ClusterConfig {
        let mut config = ClusterConfig::new(&self.addresses());
        config.allow_auto_topic_creation = false;
        config
    }

    /// Connects.
    pub async fn connect(&self) -> anyhow::Result<Cluster> {
        self.connect_with(self.config()).await
    }

    /// Connects with settings made from [`ClusterArgs::config`].
    pub async fn connect_with(&self, config: ClusterConfig) -> anyhow::Result<Cluster> {
        match Cluster::connect(config).await {
            Ok(cluster) => Ok(cluster),
            Err(error @ ClientError::NoBroker { .. }) => Err(error).context(format!(
                "is a broker running there? say where with --bootstrap HOST:PORT or ${VARIABLE}"
            )),
            Err(error) => Err(error.into()),
        }
    }
}

/// A topic that must exist.
pub async fn find_topic(cluster: &Cluster, name: &str) -> anyhow::Result<Arc<TopicMetadata>> {
    match cluster.topic(name).await {
        Ok(topic) => Ok(topic),
        Err(error @ ClientError::UnknownTopic { .. }) => bail!(
            "{error}; `millstream topic create {name}` makes it, `millstream topic list` shows those that exist"
        ),
        Err(error) => Err(error.into()),
    }
}
