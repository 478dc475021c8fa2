//! The connections to the simulated machine.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use millstream_api::{
    AnswerLimits, AnswerQueue, Client, Completion, Context, HostPort, handle_frame,
};
use millstream_env::Clock;
use millstream_node::Node;
use millstream_protocol::frame::Frame;

use super::Violation;
use super::world::World;

/// One connection, as its task in the shell holds it.
pub(crate) struct Connection {
    answers: AnswerQueue,
    client: Client,
    /// Frames that have arrived and are not read yet: the client is to wait.
    unread: VecDeque<Bytes>,
}

impl World {
    /// A client connects.
    pub(crate) fn connect(&mut self) -> u64 {
        self.connections_made += 1;
        let connection = Connection {
            answers: AnswerQueue::new(self.connections_made, AnswerLimits::default()),
            unread: VecDeque::new(),
            client: Client {
                host: "/10.0.0.1".to_owned(),
                advertised: HostPort {
                    host: "10.0.0.9".to_owned(),
                    port: 9092,
                },
            },
        };
        self.connections.insert(self.connections_made, connection);
        self.connections_made
    }

    /// A client closes its connection.
    pub(crate) fn disconnect(&mut self, connection: u64) {
        self.note(4);
        let closed = self.on_connection(connection, |node, answers, context| {
            answers.close(&node.broker, context);
            Ok(())
        });
        debug_assert!(closed.is_ok());
        self.connections.remove(&connection);
    }

    /// A client's frame arrives.
    pub(crate) fn send(&mut self, connection: u64, frame: &Frame) -> Result<(), Violation> {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.unread.push_back(without_length(frame));
        }
        self.read(connection)
    }

    /// The connection reads what has arrived, as far as it may.
    fn read(&mut self, id: u64) -> Result<(), Violation> {
        while let Some(connection) = self.connections.get_mut(&id)
            && connection.answers.has_room()
            && let Some(bytes) = connection.unread.pop_front()
        {
            self.on_connection(id, |node, answers, context| {
                let handled = handle_frame(&node.broker, context, &bytes);
                answers.push(handled).map_err(|reason| Violation {
                    what: format!("a request was refused: {reason}"),
                })
            })?;
        }
        Ok(())
    }

    /// The next answer on a connection, without its length.
    pub(crate) fn receive(&mut self, connection: u64) -> Option<Bytes> {
        let frame = self.connections.get_mut(&connection)?.answers.pop_ready()?;
        Some(without_length(&frame))
    }

    /// News for a parked request arrives at its connection.
    pub(super) fn deliver(&mut self, news: Completion) -> Result<(), Violation> {
        let id = news.token.connection;
        self.on_connection(id, |node, answers, context| {
            answers
                .handle_completion(&node.broker, context, news)
                .map_err(|reason| Violation {
                    what: format!("a connection was closed: {reason}"),
                })
        })
    }

    /// A connection with a request that has waited for its time.
    pub(super) fn waited_enough(&self) -> Option<u64> {
        let now = self.clock.now();
        let is_due = |connection: &Connection| {
            let next = connection.answers.next_timeout();
            next.is_some_and(|at| at <= now)
        };
        let due = self.connections.iter().find(|(_, one)| is_due(one));
        due.map(|(id, _)| *id)
    }

    /// The connection answers what has waited for its time.
    pub(super) fn time_out(&mut self, connection: u64) -> Result<(), Violation> {
        self.on_connection(connection, |node, answers, context| {
            let timed_out = answers.handle_timeout(&node.broker, context);
            timed_out.map_err(|reason| Violation {
                what: format!("a connection was closed: {reason}"),
            })
        })?;
        self.read(connection)
    }

    fn on_connection(
        &mut self,
        id: u64,
        step: impl FnOnce(&Node, &mut AnswerQueue, &mut Context<'_>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let Some(mut connection) = self.connections.remove(&id) else {
            return Ok(());
        };
        let mut effects = Vec::new();
        let node = self.node();
        let mut context = Context {
            now: self.clock.now(),
            wall: self.clock.wall_time(),
            token: connection.answers.next_token(),
            client: &connection.client,
            effects: &mut effects,
            may_wait: false,
        };
        let outcome = step(node, &mut connection.answers, &mut context);
        self.connections.insert(id, connection);
        self.carry_out(effects);
        outcome
    }
}

/// What a frame holds behind its length prefix.
fn without_length(frame: &Frame) -> Bytes {
    let mut bytes = BytesMut::with_capacity(frame.len());
    for part in &frame.parts {
        bytes.extend_from_slice(part);
    }
    bytes.freeze().slice(4..)
}
