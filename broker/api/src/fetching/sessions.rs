//! Fetch sessions (KIP-227): the broker remembers which partitions a client fetches and what it was told of
//! them, so that a request names only what changed and an answer only what is new.
//!
//! ```text
//!   epoch 0    full fetch: ends the session of that id, and its answer begins a new one
//!   epoch −1   full fetch: ends the session of that id
//!   other      incremental: must be the next epoch of a session that is there
//! ```
//!
//! A session is bound to no connection. It ends when its client says so, when its last partition is
//! forgotten, or when another needs its place: one that was not used for two minutes, or one that is older
//! than that and smaller than the new one. Where there is no place, the client is told session 0 and goes
//! on with full requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use millstream_model::Instant;
use millstream_protocol::ErrorCode;

use super::partitions::WantedPartitions;

/// Until then a session keeps its place.
const KEPT_FOR: Duration = Duration::from_secs(120);
/// Partitions in all sessions at most: about 60 MB.
const PARTITIONS_MAX: usize = 1 << 18;
const FIRST_INCREMENTAL_EPOCH: i32 = 1;

/// A session, shared by the cache and the request that is waiting in it.
pub(crate) struct FetchSession {
    pub id: i32,
    /// Whether its requests name topics by id.
    uses_ids: bool,
    state: Mutex<SessionState>,
}

/// What a session remembers.
pub(crate) struct SessionState {
    /// The epoch that the next request must have.
    pub next_epoch: i32,
    pub partitions: WantedPartitions,
}

impl FetchSession {
    /// `None`: another request of this session is at work.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, SessionState>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// All sessions of a broker.
pub struct FetchSessions {
    sessions_max: usize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    slots: HashMap<i32, Slot>,
    partitions: usize,
}

struct Slot {
    session: Arc<FetchSession>,
    created: Instant,
    last_used: Instant,
    partitions: usize,
}

impl FetchSessions {
    /// No sessions yet, and never more than so many.
    #[must_use]
    pub fn new(sessions_max: usize) -> FetchSessions {
        FetchSessions {
            sessions_max,
            cache: Mutex::default(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().slots.len()
    }

    /// Partitions in all of them.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.lock().partitions
    }

    /// Begins a session with what a full fetch asked for and was told. `None`: there is no place for it.
    pub(crate) fn begin(
        &self,
        partitions: WantedPartitions,
        uses_ids: bool,
        now: Instant,
        mut random: impl FnMut() -> u64,
    ) -> Option<i32> {
        let count = partitions.len();
        let mut cache = self.lock();
        if self.sessions_max == 0 || !cache.make_room(self.sessions_max, count, now) {
            return None;
        }
        let id = loop {
            let id = (random() & 0x7fff_ffff) as i32;
            if id != 0 && !cache.slots.contains_key(&id) {
                break id;
            }
        };
        let state = SessionState {
            next_epoch: FIRST_INCREMENTAL_EPOCH,
            partitions,
        };
        let session = FetchSession {
            id,
            uses_ids,
            state: Mutex::new(state),
        };
        let slot = Slot {
            session: Arc::new(session),
            created: now,
            last_used: now,
            partitions: count,
        };
        cache.partitions += count;
        cache.slots.insert(id, slot);
        Some(id)
    }

    /// Ends a session, if it is there.
    pub(crate) fn end(&self, id: i32) {
        self.lock().remove(id);
    }

    /// Takes an incremental request into its session. `change` changes the session's partitions as the
    /// request says. Answers the session and the epoch that the request after this one must have; the session
    /// is over if it has no partitions left. *Errors*: 70 – 71 and 106 as KIP-227 and KIP-516 have them; 70
    /// also where all sessions together would have too many partitions.
    pub(crate) fn resume(
        &self,
        (id, epoch): (i32, i32),
        uses_ids: bool,
        now: Instant,
        change: impl FnOnce(&mut WantedPartitions),
    ) -> Result<(Arc<FetchSession>, i32), ErrorCode> {
        let found = self
            .lock()
            .slots
            .get(&id)
            .map(|slot| Arc::clone(&slot.session));
        let session = found.ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let mut state = session
            .try_lock()
            .ok_or(ErrorCode::InvalidFetchSessionEpoch)?;
        if epoch != state.next_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_ids != uses_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        state.next_epoch = epoch.checked_add(1).unwrap_or(FIRST_INCREMENTAL_EPOCH);
        change(&mut state.partitions);
        let (count, next_epoch) = (state.partitions.len(), state.next_epoch);
        drop(state);
        match self.lock().note_use(id, count, now) {
            true => Ok((session, next_epoch)),
            false => Err(ErrorCode::FetchSessionIdNotFound),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn remove(&mut self, id: i32) {
        if let Some(slot) = self.slots.remove(&id) {
            self.partitions -= slot.partitions;
        }
    }

    /// Makes room for a session of so many partitions, if one there may be taken out for it.
    fn make_room(&mut self, sessions_max: usize, partitions: usize, now: Instant) -> bool {
        if self.slots.len() >= sessions_max || self.partitions + partitions > PARTITIONS_MAX {
            let Some(id) = self.evictable(partitions, now) else {
                return false;
            };
            self.remove(id);
        }
        self.partitions + partitions <= PARTITIONS_MAX
    }

    /// The session that was used least recently, if that is long ago; else the smallest of the old ones, if it is
    /// not larger than the new one.
    fn evictable(&self, partitions: usize, now: Instant) -> Option<i32> {
        let is_long_ago = |since: Instant| now > since.after(KEPT_FOR);
        let unused = self
            .slots
            .values()
            .filter(|slot| is_long_ago(slot.last_used))
            .min_by_key(|slot| (slot.last_used, slot.session.id));
        let smallest = self
            .slots
            .values()
            .filter(|slot| is_long_ago(slot.created) && slot.partitions <= partitions)
            .min_by_key(|slot| (slot.partitions, slot.session.id));
        unused.or(smallest).map(|slot| slot.session.id)
    }

    /// Notes how many partitions a session has now, and ends it if that is none, or too many. `false`: it is
    /// ended for that, or was before.
    fn note_use(&mut self, id: i32, count: usize, now: Instant) -> bool {
        let Some(slot) = self.slots.get_mut(&id) else {
            return false;
        };
        self.partitions = self.partitions - slot.partitions + count;
        slot.partitions = count;
        slot.last_used = now;
        let is_too_much = self.partitions > PARTITIONS_MAX;
        if count == 0 || is_too_much {
            self.remove(id);
        }
        !is_too_much
    }
}
