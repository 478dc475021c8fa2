//! A connection's part in the budget of unfinished requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_api::{FrameBudget, FrameTicket};
use tokio::sync::Notify;

use super::frame_reader::{ALLOWANCE, BUFFER_MIN};

/// What the system has received should come to one of this many bytes of what is the connections' own: it keeps as
/// much again for itself.
const RECEIVED_PART: usize = 8;

/// The budget that all connections share.
pub struct SharedBudget {
    state: Mutex<State>,
    /// What the connections' own parts should come to, all together.
    own_bytes_max: usize,
    connections: AtomicUsize,
}

struct State {
    budget: FrameBudget,
    /// Whom to wake, for the frames that wait.
    wakers: BTreeMap<FrameTicket, Arc<Notify>>,
}

impl SharedBudget {
    /// A budget of `bytes_max` in all, for frames of at most `frame_bytes_max`, beside what is the
    /// connections' own, `own_bytes_max` all together.
    #[must_use]
    pub fn new(
        bytes_max: usize,
        frame_bytes_max: usize,
        own_bytes_max: usize,
    ) -> Arc<SharedBudget> {
        let state = State {
            budget: FrameBudget::new(bytes_max, frame_bytes_max),
            wakers: BTreeMap::new(),
        };
        Arc::new(SharedBudget {
            state: Mutex::new(state),
            own_bytes_max,
            connections: AtomicUsize::new(0),
        })
    }

    /// What the system may have received of a connection that is new, if it has as much of each: all together a part
    /// of what is the connections' own.
    #[must_use]
    pub fn receive_share(&self) -> usize {
        let connections = self.connections.load(Ordering::Relaxed).saturating_add(1);
        self.own_bytes_max / RECEIVED_PART / connections
    }

    /// Bytes charged, and frames that wait.
    pub fn state(&self) -> (usize, usize) {
        let state = self.lock();
        (state.budget.charged(), state.wakers.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A broken invariant of the budget is told by everyone who comes after, not by this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection has charged for the frame it reads. Nothing is held, and no lock is taken, as
/// long as frames keep to the connection's own part.
pub struct Charge {
    shared: Arc<SharedBudget>,
    /// The frame and its bytes.
    frame: Option<(FrameTicket, usize)>,
    granted: Arc<Notify>,
}

impl Charge {
    /// A connection that has charged nothing.
    #[must_use]
    pub fn new(shared: Arc<SharedBudget>) -> Charge {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Charge {
            shared,
            frame: None,
            granted: Arc::new(Notify::new()),
        }
    }

    /// The buffer that is the connection's own: less where there are many, down to what small requests need.
    #[must_use]
    pub fn allowance(&self) -> usize {
        let connections = self.shared.connections.load(Ordering::Relaxed).max(1);
        (self.shared.own_bytes_max / connections).clamp(BUFFER_MIN, ALLOWANCE)
    }

    /// Whether the frame has gone beyond the connection's own part.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.frame.is_some()
    }

    /// Charges `bytes` for a frame that may come, if they are free. Answers whether they are charged.
    pub fn begin(&mut self, bytes: usize) -> bool {
        let mut state = self.shared.lock();
        let ticket = state.budget.begin();
        if !state.budget.try_grow(ticket, bytes) {
            // A ticket without bytes would be in the way of those behind it.
            let granted = state.budget.end(ticket);
            debug_assert!(granted.is_empty(), "it has freed nothing");
            return false;
        }
        let before = self.frame.replace((ticket, bytes));
        debug_assert!(before.is_none(), "one frame at a time");
        true
    }

    /// Charges `bytes` in all, or has the connection wait for them: [`Charge::granted`] says when to
    /// call this again. Answers whether they are charged.
    pub fn grow(&mut self, bytes: usize) -> bool {
        if self.frame.is_some_and(|(_, charged)| charged >= bytes) {
            return true;
        }
        let mut state = self.shared.lock();
        let (ticket, charged) = match self.frame {
            Some(frame) => frame,
            None => (state.budget.begin(), 0),
        };
        let is_charged = state.budget.grow(ticket, bytes);
        if !is_charged {
            state.wakers.insert(ticket, Arc::clone(&self.granted));
        }
        self.frame = Some((ticket, if is_charged { bytes } else { charged }));
        is_charged
    }

    /// Waits until what [`Charge::grow`] asked for is charged. Cancel-safe: it is remembered.
    pub async fn granted(&self) {
        self.granted.notified().await;
    }

    /// Gives back what is charged: the frame is in the log, or is no more.
    pub fn release(&mut self) {
        let Some((ticket, _)) = self.frame.take() else {
            return;
        };
        let mut state = self.shared.lock();
        state.wakers.remove(&ticket);
        for granted in state.budget.end(ticket) {
            if let Some(waker) = state.wakers.remove(&granted) {
                waker.notify_one();
            }
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.release();
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_when_another_gives_back() {
        let shared = SharedBudget::new(15, 10, usize::MAX);
        let [mut first, mut second, mut third] = [(); 3].map(|()| Charge::new(Arc::clone(&shared)));
        assert!(first.grow(10));
        assert!(second.grow(4));
        assert!(!second.grow(6));
        assert!(!third.grow(1), "the second is older and waits");
        drop(first);
        second.granted().await;
        assert!(second.grow(6));
        third.granted().await;
        assert!(third.grow(1));
        assert!(third.grow(5));
    }

    #[tokio::test]
    async fn who_leaves_while_waiting_lets_the_next_go_on() {
        let shared = SharedBudget::new(15, 10, usize::MAX);
        let [mut first, mut second, mut third] = [(); 3].map(|()| Charge::new(Arc::clone(&shared)));
        assert!(first.grow(10));
        assert!(!second.grow(6));
        assert!(!third.grow(5));
        drop(second);
        third.granted().await;
        assert!(third.grow(5));
    }

    #[test]
    fn what_is_a_connection_s_own_shrinks_where_there_are_many() {
        let shared = SharedBudget::new(10, 10, 1 << 20);
        let crowd = |count| -> Vec<Charge> {
            let charges = (0..count).map(|_| Charge::new(Arc::clone(&shared)));
            charges.collect()
        };
        let few = crowd(16);
        assert_eq!(few[0].allowance(), 64 << 10);
        let more = crowd(112);
        assert_eq!(few[0].allowance(), 8 << 10);
        let _many = crowd(1000);
        assert_eq!(few[0].allowance(), BUFFER_MIN);
        drop(more);
        drop(_many);
        assert_eq!(few[0].allowance(), 64 << 10);
        drop(few);
        assert_eq!(Charge::new(shared).allowance(), ALLOWANCE);
    }

    #[test]
    fn a_guess_is_taken_or_left() {
        let shared = SharedBudget::new(10, 10, usize::MAX);
        let [mut first, mut second] = [(); 2].map(|()| Charge::new(Arc::clone(&shared)));
        assert!(first.begin(3));
        assert!(!second.begin(3));
        assert!(!second.is_held());
        first.release();
        assert!(second.begin(3));
    }
}
