//! What all measurements share: arguments, the topic, producer identities.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use millstream_cli::{ClusterArgs, Output, find_topic};
use millstream_client::{
    Admin, BrokerCode, ClientError, Cluster, Connection, Isolation, NewTopic, OffsetSpec,
    TopicMetadata, TopicPartition,
};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

/// How many threads make a load unless it is said.
const THREADS_MAX: usize = 8;

/// Arguments that all measurements take.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The topic; it is made if it does not exist
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub(crate) topic: String,
    /// Process id of the broker, to report its processor time and memory
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Threads that make the load [default: one for each client, at most 8]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// How to print the result
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// A topic that is ready to be written and read.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) cluster: Cluster,
    pub(crate) topic: Arc<TopicMetadata>,
}

impl Common {
    /// How many threads make the load of so many clients. Clients are processes of their own: if all were on one
    /// thread, each would wait for the others, and the generator would be measured.
    pub(crate) fn threads(&self, clients: usize) -> usize {
        let threads = self.threads.unwrap_or(clients.min(THREADS_MAX));
        threads.max(1)
    }

    /// Connects and finds the topic; makes it with `partitions` where it does not exist.
    pub(crate) async fn target(&self, partitions: Option<i32>) -> anyhow::Result<Target> {
        let cluster = self.cluster.connect().await?;
        let admin = Admin::new(cluster.clone());
        if let Some(count) = partitions {
            let mut new = NewTopic::new(&self.topic);
            new.partitions = Some(count);
            match admin.create_topic(&new, false).await {
                Ok(_) => {}
                Err(error) if is(&error, ErrorCode::TopicAlreadyExists) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let topic = find_topic(&cluster, &self.topic).await?;
        if let Some(count) = partitions
            && topic.partitions.len() != count as usize
        {
            bail!(
                "topic `{}` has {} partition(s), not {count}; name another --topic, or say --partitions {}",
                self.topic,
                topic.partitions.len(),
                topic.partitions.len()
            );
        }
        let target = Target { cluster, topic };
        // Leaders that do not lead yet are waited for here, not in the measurement.
        target.offsets(OffsetSpec::Latest).await?;
        Ok(target)
    }
}

fn is(error: &ClientError, code: ErrorCode) -> bool {
    error.code().is_some_and(|found| found.is(code))
}

impl Target {
    /// One offset of each partition.
    pub(crate) async fn offsets(&self, spec: OffsetSpec) -> anyhow::Result<BTreeMap<i32, i64>> {
        let partitions = self.topic.partitions.iter();
        let wanted = partitions
            .map(|p| (TopicPartition::new(self.topic.name.clone(), p.index), spec))
            .collect();
        let listed = Admin::new(self.cluster.clone())
            .list_offsets(&wanted, Isolation::ReadUncommitted)
            .await?;
        Ok(listed
            .into_iter()
            .map(|(target, listed)| (target.partition, listed.offset.unwrap_or(0)))
            .collect())
    }

    /// The address of each partition's leader.
    pub(crate) async fn leaders(&self) -> anyhow::Result<BTreeMap<i32, String>> {
        let metadata = self.cluster.refresh(&[&self.topic.name]).await?;
        let mut leaders = BTreeMap::new();
        for partition in &self.topic.partitions {
            let leader = metadata.leader(&self.topic.name, partition.index);
            let node = leader.and_then(|(id, _)| metadata.nodes.get(&id));
            let node = node.with_context(|| {
                format!(
                    "partition {} of `{}` has no leader",
                    partition.index, self.topic.name
                )
            })?;
            leaders.insert(partition.index, node.address());
        }
        Ok(leaders)
    }

    /// A connection of its own to `address`.
    pub(crate) async fn connect(&self, address: &str) -> anyhow::Result<Connection> {
        Ok(Connection::open(address, &self.cluster.config().connection).await?)
    }

    /// A new producer id and epoch.
    pub(crate) async fn producer_id(&self) -> anyhow::Result<(i64, i16)> {
        let connection = self.cluster.any().await?;
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let answer = connection.call(&request).await?;
        let response: InitProducerIdResponse = answer.decode()?;
        match BrokerCode::of(response.error_code) {
            None => Ok((response.producer_id, response.producer_epoch)),
            Some(code) => bail!("get a producer id: {code}; try --no-idempotence"),
        }
    }
}
