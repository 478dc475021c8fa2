//! What the shell reports to the core.

use tokio::time::Instant;

use super::{Core, Identity, Link, METADATA_AGE_MAX, Node};
use crate::cluster::TopicPartition;
use crate::error::BrokerCode;
use crate::producer::batch::ProducerIdentity;
use crate::producer::error::ProduceError;
use crate::producer::queue::PartitionAnswer;

impl Core {
    /// Metadata was asked for, with or without success.
    pub(crate) fn handle_metadata(&mut self, now: Instant) {
        self.refreshing = false;
        self.refresh_not_before = Some(now + self.rules.backoff.first);
        self.refresh_due = Some(now + METADATA_AGE_MAX);
    }

    /// A connection to a broker was made; `session` differs from every earlier one.
    pub(crate) fn handle_connected(&mut self, node: i32, session: u64) {
        let link = Link::Up {
            session,
            in_flight: 0,
        };
        self.nodes.insert(node, Node { link, failures: 0 });
    }

    /// A broker cannot be reached, or its connection has ended.
    pub(crate) fn handle_disconnected(&mut self, node: i32, now: Instant) {
        self.refresh_wanted = true;
        let random = self.dice.roll();
        let backoff = self.rules.backoff;
        if let Some(known) = self.nodes.get_mut(&node) {
            known.failures += 1;
            known.link = Link::Down {
                until: now + backoff.after(known.failures, random),
            };
        }
    }

    /// The answer to InitProducerId.
    pub(crate) fn handle_producer_id(&mut self, producer: ProducerIdentity) {
        self.identity = Identity::Known(producer);
        self.identity_failures = 0;
    }

    /// InitProducerId failed; with `Some`, for good.
    pub(crate) fn handle_no_producer_id(&mut self, now: Instant, fatal: Option<ProduceError>) {
        self.identity_failures += 1;
        let random = self.dice.roll();
        let wait = self.rules.backoff.after(self.identity_failures, random);
        self.identity = Identity::Needed {
            not_before: Some(now + wait),
        };
        if let Some(error) = fatal {
            self.fail_all(&error);
        }
    }

    /// The answer to a request; `find` gives each partition's part of it.
    pub(crate) fn handle_answer(
        &mut self,
        request: u64,
        now: Instant,
        find: impl Fn(&TopicPartition) -> Option<PartitionAnswer>,
    ) {
        for (at, id) in self.take_request(request) {
            let random = self.dice.roll();
            let queue = &mut self.queues[at];
            let Some(answer) = find(&queue.target) else {
                let why = "the answer lacks this partition";
                queue.handle_lost(id, why, now, &self.rules, random);
                continue;
            };
            let code = BrokerCode(answer.code);
            self.refresh_wanted |= code.means_stale_metadata();
            let done = queue.handle_answer(id, answer, now, &self.rules, random);
            self.finish(done);
        }
    }

    /// No answer will come.
    pub(crate) fn handle_lost(&mut self, request: u64, now: Instant, why: &str) {
        for (at, id) in self.take_request(request) {
            let random = self.dice.roll();
            self.queues[at].handle_lost(id, why, now, &self.rules, random);
        }
    }

    /// The request can never be sent like this.
    pub(crate) fn handle_unsendable(&mut self, request: u64, error: &ProduceError) {
        for (at, id) in self.take_request(request) {
            let done = self.queues[at].handle_unsendable(id, error.clone());
            self.finish(done);
        }
    }

    /// Fails every record that has no result yet.
    pub(crate) fn fail_all(&mut self, error: &ProduceError) {
        let mut released = 0;
        for queue in &mut self.queues {
            for batch in queue.drain() {
                released += batch.reserved;
                batch.resolve(Err(error.clone()));
            }
        }
        self.released += released;
    }

    fn take_request(&mut self, request: u64) -> Vec<(usize, u64)> {
        let Some(sent) = self.sent.remove(&request) else {
            return Vec::new();
        };
        if let Some(Link::Up { session, in_flight }) = self.link(sent.node)
            && *session == sent.session
        {
            *in_flight = in_flight.saturating_sub(1);
        }
        sent.batches
    }

    pub(super) fn link(&mut self, node: i32) -> Option<&mut Link> {
        self.nodes.get_mut(&node).map(|node| &mut node.link)
    }
}
