//! The partitions that a fetch asks for, in the order in which they are read.
//!
//! A partition that gave records goes to the end, so that with a size limit none starves.

use std::collections::{BTreeMap, HashMap};

use super::partition::{PartitionKey, WantedPartition};

/// Partitions, each once.
#[derive(Default)]
pub(crate) struct WantedPartitions {
    in_order: BTreeMap<u64, WantedPartition>,
    places: HashMap<PartitionKey, u64>,
    next_place: u64,
}

impl WantedPartitions {
    /// Adds a partition at the end. One that is there is replaced where it is.
    pub(crate) fn put(&mut self, partition: WantedPartition) {
        let place = *self
            .places
            .entry(partition.key.clone())
            .or_insert(self.next_place);
        self.next_place = self.next_place.max(place + 1);
        self.in_order.insert(place, partition);
    }

    pub(crate) fn get_mut(&mut self, key: &PartitionKey) -> Option<&mut WantedPartition> {
        let place = self.places.get(key)?;
        self.in_order.get_mut(place)
    }

    /// Takes a partition out, if it is there.
    pub(crate) fn forget(&mut self, key: &PartitionKey) {
        if let Some(place) = self.places.remove(key) {
            self.in_order.remove(&place);
        }
    }

    /// Moves a partition to the end.
    pub(crate) fn move_to_end(&mut self, place: u64) {
        if let Some(partition) = self.in_order.remove(&place) {
            self.places.insert(partition.key.clone(), self.next_place);
            self.in_order.insert(self.next_place, partition);
            self.next_place += 1;
        }
    }

    /// The partition at a place.
    pub(crate) fn at_mut(&mut self, place: u64) -> Option<&mut WantedPartition> {
        self.in_order.get_mut(&place)
    }

    /// All of them in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &WantedPartition> {
        self.in_order.values()
    }

    /// All of them in order, with their places.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut WantedPartition)> {
        self.in_order
            .iter_mut()
            .map(|(place, partition)| (*place, partition))
    }

    pub(crate) fn len(&self) -> usize {
        self.in_order.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }
}
