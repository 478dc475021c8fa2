//! Records of a topic whose durability is changed now and then: what was acknowledged while `fsync` was in
//! force, and nothing else could be, stays at its offset. What was acknowledged from memory may be lost by a
//! crash, and others come to its place.

use std::collections::BTreeMap;

use crate::sim::{Violation, violation};

/// Partition and offset.
pub type Place = (i32, i64);

/// The durable records as their client knows them.
#[derive(Debug, Default)]
pub struct Entrusted {
    durable: BTreeMap<Place, i32>,
}

impl Entrusted {
    /// A record was acknowledged.
    pub fn acknowledge(
        &mut self,
        place: Place,
        number: i32,
        is_durable: bool,
    ) -> Result<(), Violation> {
        if let Some(before) = self.durable.get(&place) {
            return violation(format!(
                "record {number} is acknowledged at {place:?}, where {before} was durable"
            ));
        }
        if is_durable {
            self.durable.insert(place, number);
        }
        Ok(())
    }

    /// Everything was read: what was durable is there.
    pub fn check_the_end(&self, found: &BTreeMap<Place, i32>) -> Result<(), Violation> {
        for (place, number) in &self.durable {
            if found.get(place) != Some(number) {
                let found = found.get(place);
                return violation(format!(
                    "record {number} was durable at {place:?}, where {found:?} is now"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_durable_keeps_its_place() {
        let mut entrusted = Entrusted::default();
        entrusted.acknowledge((0, 0), 1, true).unwrap();
        entrusted.acknowledge((0, 1), 2, false).unwrap();
        entrusted.acknowledge((0, 1), 3, true).unwrap();
        assert!(entrusted.acknowledge((0, 0), 4, false).is_err());
        let found = BTreeMap::from([((0, 0), 1), ((0, 1), 3)]);
        entrusted.check_the_end(&found).unwrap();
        assert!(entrusted.check_the_end(&BTreeMap::new()).is_err());
    }
}
