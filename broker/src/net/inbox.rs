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

    /// Puts news in. Answers whether there were none.
    fn put(&self, completion: Completion) -> bool {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        news.push(completion);
        news.len() == 1
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

    /// Delivers news; what is for a connection that ended is dropped. All of it lies in the mailboxes before the first
    /// is told: whoever is woken may take this thread's processor at once, and would find and answer them one by one.
    pub fn deliver(&self, completions: impl IntoIterator<Item = Completion>) {
        let inboxes = self
            .by_connection
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut filled = Vec::new();
        for completion in completions {
            if let Some(inbox) = inboxes.get(&completion.token.connection)
                && inbox.put(completion)
            {
                filled.push(Arc::clone(inbox));
            }
        }
        drop(inboxes);
        for inbox in filled {
            inbox.arrived.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::Future;
    use std::task::{Context, Wake, Waker};

    use millstream_api::CompletionEvent;
    use millstream_model::RequestToken;

    use super::*;

    /// A connection that looks into its mailbox the moment it is woken, as on another processor.
    struct Eager {
        inbox: Arc<Inbox>,
        found: Mutex<Vec<usize>>,
    }

    impl Wake for Eager {
        fn wake(self: Arc<Self>) {
            let news = self.inbox.take();
            self.found.lock().unwrap().push(news.len());
        }
    }

    #[test]
    fn whoever_is_woken_finds_all_of_its_news() {
        let inboxes = Inboxes::default();
        let eager = [1, 2].map(|connection| {
            let inbox = inboxes.open(connection);
            let found = Mutex::default();
            Arc::new(Eager { inbox, found })
        });
        let mut waits = eager.each_ref().map(|one| Box::pin(one.inbox.wait()));
        for (one, wait) in eager.iter().zip(&mut waits) {
            let waker = Waker::from(Arc::clone(one));
            let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        let news = [1, 2, 1, 3, 2, 1].map(|connection| Completion {
            token: RequestToken {
                connection,
                request: 0,
            },
            event: CompletionEvent::RecordsArrived,
        });
        inboxes.deliver(news);
        let found = eager
            .each_ref()
            .map(|one| one.found.lock().unwrap().clone());
        assert_eq!(found, [[3], [2]]);
    }
}
