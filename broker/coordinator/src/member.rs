//! One member of a group.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_model::{Instant, RequestToken};
use millstream_protocol::messages::group_metadata_value::MemberMetadata;

use crate::protocols::Protocol;
use crate::timers::{Timer, TimerHandle, Timers};

/// A call that waits for other members.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParkedCall {
    pub(crate) token: RequestToken,
    pub(crate) api_version: i16,
}

/// What a member's client waits for. It waits for one thing at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting {
    Nothing,
    /// For the next generation.
    Join(ParkedCall),
    /// For the leader's assignment.
    Sync(ParkedCall),
}

/// The member's session: the timer fires at or before the deadline and is armed again if that has
/// moved.
#[derive(Clone, Copy, Debug)]
struct Session {
    deadline: Instant,
    timer: TimerHandle,
}

/// A member of a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: Arc<str>,
    /// Set for static members (KIP-345).
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) session_timeout: Duration,
    /// In the member's order of preference, never empty.
    pub(crate) protocols: Vec<Protocol>,
    /// Durable: what the leader of the last stored generation gave it.
    pub(crate) assignment: Bytes,
    pub(crate) waiting: Waiting,
    /// Whether its first join was not answered yet, so that it cannot send heartbeats.
    pub(crate) is_new: bool,
    session: Option<Session>,
}

/// What a member brings when it joins.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) protocols: Vec<Protocol>,
}

impl Member {
    /// A member of which only the id is known.
    pub(crate) fn new(id: Arc<str>) -> Member {
        Member {
            id,
            instance_id: None,
            client_id: "".into(),
            client_host: "".into(),
            rebalance_timeout: Duration::ZERO,
            session_timeout: Duration::ZERO,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            waiting: Waiting::Nothing,
            is_new: false,
            session: None,
        }
    }

    /// Takes over what a JoinGroup brings.
    pub(crate) fn take_over(&mut self, joining: Joining) {
        if joining.instance_id.is_some() {
            self.instance_id = joining.instance_id;
        }
        self.client_id = joining.client_id;
        self.client_host = joining.client_host;
        self.rebalance_timeout = joining.rebalance_timeout;
        self.session_timeout = joining.session_timeout;
        self.protocols = joining.protocols;
    }

    /// Takes over what a record says. A running member keeps its further protocols, of which the
    /// record knows only the chosen one.
    pub(crate) fn replay(&mut self, stored: &MemberMetadata<'_>, chosen: Option<&Arc<str>>) {
        self.instance_id = stored.group_instance_id.as_deref().map(Arc::from);
        self.client_id = stored.client_id.as_ref().into();
        self.client_host = stored.client_host.as_ref().into();
        self.rebalance_timeout = from_ms(stored.rebalance_timeout);
        self.session_timeout = from_ms(stored.session_timeout);
        self.assignment = Bytes::copy_from_slice(&stored.assignment);
        let name = chosen.cloned().unwrap_or_else(|| "".into());
        let is_known = |own: &Protocol| own.name == name && *own.metadata == *stored.subscription;
        if !self.protocols.iter().any(is_known) {
            let metadata = Bytes::copy_from_slice(&stored.subscription);
            self.protocols = vec![Protocol { name, metadata }];
        }
    }

    /// Whether it waits for the next generation.
    pub(crate) fn is_joining(&self) -> bool {
        matches!(self.waiting, Waiting::Join(_))
    }

    /// What it tells the leader under a protocol.
    pub(crate) fn metadata_of(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|own| &*own.name == protocol);
        found.map_or_else(Bytes::new, |own| own.metadata.clone())
    }

    /// Gives the member its session timeout from now.
    pub(crate) fn restart_session(&mut self, group: &Arc<str>, timers: &mut Timers, now: Instant) {
        self.start_session(group, timers, now.after(self.session_timeout));
    }

    /// Moves the end of the session. A timer that fires before it stays as it is.
    pub(crate) fn start_session(
        &mut self,
        group: &Arc<str>,
        timers: &mut Timers,
        deadline: Instant,
    ) {
        if let Some(session) = &mut self.session
            && session.timer.at <= deadline
        {
            session.deadline = deadline;
            return;
        }
        self.end_session(timers);
        let timer = Timer::Session {
            group: group.clone(),
            member: self.id.clone(),
        };
        self.session = Some(Session {
            deadline,
            timer: timers.arm(deadline, timer),
        });
    }

    /// Takes the timer away: the member leaves.
    pub(crate) fn end_session(&mut self, timers: &mut Timers) {
        if let Some(session) = self.session.take() {
            timers.disarm(session.timer);
        }
    }

    /// The session's timer fired. Whether the session is really over; if not, the timer is armed
    /// again. A member whose call waits is alive, unless that call is its first.
    pub(crate) fn handle_session_timer(
        &mut self,
        group: &Arc<str>,
        timers: &mut Timers,
        now: Instant,
    ) -> bool {
        let Some(session) = self.session.take() else {
            return false;
        };
        let is_alive = !self.is_new && !matches!(self.waiting, Waiting::Nothing);
        if is_alive {
            self.restart_session(group, timers, now);
            return false;
        }
        if session.deadline > now {
            self.start_session(group, timers, session.deadline);
            return false;
        }
        true
    }
}

/// A duration of the wire; a negative one counts as none.
pub(crate) fn from_ms(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// A duration as the wire has it.
pub(crate) fn to_ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
