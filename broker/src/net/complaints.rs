//! What is said in the log of clients that are refused: one line a minute for each address, whatever it sends.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millstream_model::Instant;

/// How long nothing more is said of an address.
const QUIET: Duration = Duration::from_secs(60);
/// Addresses that are remembered. Of one more nothing is said until one of them is forgotten.
const ADDRESSES_MAX: usize = 1024;

/// Of whom something was said lately.
#[derive(Default)]
pub struct Complaints(Mutex<BTreeMap<Box<str>, Said>>);

struct Said {
    at: Instant,
    /// What was not said since.
    unsaid: u64,
}

impl Complaints {
    /// Whether to say something of this address now: how many times it was not said before.
    pub fn begin(&self, address: &str, now: Instant) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = all.get_mut(address) {
            if now < said.at.after(QUIET) {
                said.unsaid += 1;
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.unsaid));
        }
        if all.len() >= ADDRESSES_MAX {
            all.retain(|_, said| now < said.at.after(QUIET));
        }
        if all.len() >= ADDRESSES_MAX {
            return None;
        }
        let said = Said { at: now, unsaid: 0 };
        all.insert(address.into(), said);
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_address_a_line_a_minute() {
        let (complaints, start) = (Complaints::default(), Instant::default());
        assert_eq!(complaints.begin("/10.0.0.1", start), Some(0));
        assert_eq!(complaints.begin("/10.0.0.1", start), None);
        assert_eq!(complaints.begin("/10.0.0.2", start), Some(0));
        let later = start.after(QUIET);
        assert_eq!(complaints.begin("/10.0.0.1", later), Some(1));
        assert_eq!(complaints.begin("/10.0.0.1", later), None);
    }

    #[test]
    fn the_addresses_are_bounded() {
        let (complaints, start) = (Complaints::default(), Instant::default());
        for number in 0..ADDRESSES_MAX {
            assert_eq!(complaints.begin(&number.to_string(), start), Some(0));
        }
        assert_eq!(complaints.begin("one more", start), None);
        assert_eq!(complaints.begin("one more", start.after(QUIET)), Some(0));
    }
}
