//! Trying again until a deadline.
//!
//! ```text
//! let mut attempts = cluster.attempts("create topic `a`");
//! loop {
//!     match create_once().await {
//!         Ok(created) => return Ok(created),
//!         Err(error) => attempts.wait_after(error).await?,
//!     }
//! }
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::Cluster;
use crate::error::ClientError;

/// Counts failures and waits between attempts.
#[derive(Debug)]
pub struct Attempts<'a> {
    cluster: &'a Cluster,
    what: String,
    start: Instant,
    limit: Duration,
    failures: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(cluster: &'a Cluster, what: String, limit: Duration) -> Self {
        Self {
            cluster,
            what,
            start: Instant::now(),
            limit,
            failures: 0,
        }
    }

    /// What is tried, for error messages.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Waits before the next attempt. *Errors*: the failure is final, or the deadline would pass.
    pub async fn wait_after(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retriable() {
            return Err(error);
        }
        self.failures += 1;
        let wait = self.cluster.wait_after(self.failures);
        if self.start.elapsed() + wait >= self.limit {
            return Err(ClientError::Deadline {
                what: self.what.clone(),
                after: self.limit,
                last: Box::new(error),
            });
        }
        tracing::debug!(what = self.what, %error, failures = self.failures, "trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
