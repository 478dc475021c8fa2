//! Reads on threads that must not wait for a disk.
//!
//! ```text
//!   under a lock:   without_waiting(step) ─► Err(ColdRead): what the page cache does not hold
//!   without it:     ColdRead::wait ─► the bytes are in the page cache; the step begins anew
//! ```
//!
//! So nobody waits for a lock while its holder waits for a disk. The thread that waits in
//! [`ColdRead::wait`] may have others to serve: [`set_around_waits`] tells what it does with them.

use std::cell::RefCell;
use std::fs::File as StdFile;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use rustix::fs::Advice;

/// Of each piece of this size a byte is read, to wait for it.
const PIECE: u64 = 64 << 10;

/// Runs a wait, and sees to what the thread would do meanwhile.
pub type AroundWait = fn(&mut dyn FnMut());

static AROUND: OnceLock<AroundWait> = OnceLock::new();

thread_local! {
    static WAITING: RefCell<Waiting> = const { RefCell::new(Waiting::Allowed) };
}

/// Whether reads of this thread may wait for a disk.
enum Waiting {
    Allowed,
    /// They may not; the first that would have had to.
    Refused(Option<ColdRead>),
}

/// Bytes of a file that were not in the page cache.
#[derive(Debug)]
pub struct ColdRead {
    /// `None`: a simulated one, which is warm at the next try.
    file: Option<Arc<StdFile>>,
    position: u64,
    length: u64,
}

impl ColdRead {
    pub(crate) fn new(file: Option<Arc<StdFile>>, position: u64, length: usize) -> ColdRead {
        ColdRead {
            file,
            position,
            length: length as u64,
        }
    }

    /// Waits until the page cache holds the bytes. That they cannot be read the next try finds out.
    pub fn wait(&self) {
        let Some(file) = &self.file else {
            return;
        };
        let mut wait = || {
            let length = NonZeroU64::new(self.length);
            // Without it the pieces come one after the other.
            let _ = rustix::fs::fadvise(file, self.position, length, Advice::WillNeed);
            let end = self.position + self.length;
            let mut at = self.position;
            while at < end && file.read_at(&mut [0], at).is_ok_and(|read| read > 0) {
                // Pieces are aligned: the last of them may be a short one.
                at = (at / PIECE + 1) * PIECE;
            }
        };
        around(&mut wait);
    }
}

/// Runs a step that may wait for a disk, whatever it holds meanwhile.
pub fn waiting<T>(step: impl FnOnce() -> T) -> T {
    let (mut step, mut result) = (Some(step), None);
    around(&mut || result = step.take().map(|step| step()));
    result.expect("what runs around a wait runs it")
}

fn around(wait: &mut dyn FnMut()) {
    match AROUND.get() {
        Some(around) => around(wait),
        None => wait(),
    }
}

/// Sets what threads do around their waits, once for the process.
pub fn set_around_waits(around: AroundWait) {
    // A second one would be that of another broker in the process, which runs like the first.
    let _ = AROUND.set(around);
}

/// Runs a step in which reads do not wait for a disk. *Errors*: one would have had to; it failed, and what
/// the step gave is not to be believed.
pub fn without_waiting<T>(step: impl FnOnce() -> T) -> Result<T, ColdRead> {
    /// Also when the step panics.
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            WAITING.set(Waiting::Allowed);
        }
    }

    WAITING.set(Waiting::Refused(None));
    let restore = Restore;
    let result = step();
    let waiting = WAITING.replace(Waiting::Allowed);
    drop(restore);
    match waiting {
        Waiting::Refused(Some(cold)) => Err(cold),
        _ => Ok(result),
    }
}

/// Whether a read may wait.
pub(crate) fn may_wait() -> bool {
    WAITING.with_borrow(|waiting| matches!(waiting, Waiting::Allowed))
}

/// Notes a read that would have had to wait. Answers the error that it fails with.
pub(crate) fn refuse(cold: ColdRead) -> io::Error {
    WAITING.with_borrow_mut(|waiting| {
        if let Waiting::Refused(first) = waiting {
            first.get_or_insert(cold);
        }
    });
    io::ErrorKind::WouldBlock.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_step_that_met_nothing_cold_has_its_result() {
        assert_eq!(without_waiting(|| (may_wait(), 1)).unwrap(), (false, 1));
        assert!(may_wait());
    }

    #[test]
    fn a_step_that_may_wait_is_run_once() {
        let mut runs = 0;
        assert_eq!(waiting(|| std::mem::replace(&mut runs, 1)), 0);
        assert_eq!(runs, 1);
    }

    #[test]
    fn the_first_cold_read_is_told() {
        let cold = without_waiting(|| {
            for position in [7, 8] {
                let refused = refuse(ColdRead::new(None, position, 1));
                assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
            }
        });
        assert_eq!(cold.unwrap_err().position, 7);
        assert!(may_wait());
    }

    #[test]
    fn waiting_is_allowed_again_after_a_panic() {
        let panicked = std::panic::catch_unwind(|| without_waiting(|| panic!("a bug")));
        assert!(panicked.is_err());
        assert!(may_wait());
    }
}
