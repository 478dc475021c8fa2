//! Where news for parked requests waits for its connection's task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use millstream_api::Completion;
use tokio::sync::Notify;

/// One connection's mailbox. Its size is bounded by the connection's parked requests.
#[derive(Default)]
pub struct Inbox {
    news: Mutex<Vec<Completion>>,
    arrived: Notify,
}

impl Inbox {
    /// Waits until there is news. Cancel-safe: an arrival is remembered.
    pub async fn wait(&self) {
        self.arrived.notified().await;
    }

    /// Takes all news.
    pub fn take(&self) -> Vec<Completion> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn deliver(&self, completion: Completion) {
        self.news
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(completion);
        self.arrived.notify_one();
    }
}

/// The mailboxes of all connections.
#[derive(Default)]
pub struct Inboxes {
    by_connection: RwLock<HashMap<u64, Arc<Inbox>>>,
}

impl Inboxes {
    /// Opens the mailbox of a new connection.
    pub fn open(&self, connection: u64) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::default());
        let mut inboxes = self
            .by_connection
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        inboxes.insert(connection, Arc::clone(&inbox));
        inbox
    }

    /// Closes the mailbox of a connection that ended.
    pub fn close(&self, connection: u64) {
        let mut inboxes = self
            .by_connection
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        inboxes.remove(&connection);
    }

    /// Mailboxes that are open.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        let inboxes = self.by_connection.read();
        inboxes.unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Delivers news; what is for a connection that ended is dropped.
    pub fn deliver(&self, completions: impl IntoIterator<Item = Completion>) {
        let inboxes = self
            .by_connection
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for completion in completions {
            if let Some(inbox) = inboxes.get(&completion.token.connection) {
                inbox.deliver(completion);
            }
        }
    }
}
