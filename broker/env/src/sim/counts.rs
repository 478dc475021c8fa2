//! How often each kind of fault struck, so that one that never does is seen.

use std::fmt;
use std::ops::AddAssign;

/// Faults of a simulated disk that struck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimCounts {
    /// Unsynced writes that a crash lost.
    pub lost_writes: u64,
    /// Unsynced writes of which a crash kept the beginning.
    pub torn_writes: u64,
    /// Unsynced writes of which a crash kept some sectors, a later one without an earlier one.
    pub holed_writes: u64,
    /// Unsynced writes of which a crash kept the length, with zeros.
    pub zeroed_writes: u64,
    /// Unsynced writes that a crash kept although it lost an earlier one of the file.
    pub reordered_writes: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Writes that found the disk full.
    pub refused_writes: u64,
    /// Writes that took half of their bytes.
    pub short_writes: u64,
    /// Bits that flipped.
    pub flips: u64,
    /// Writes that landed elsewhere.
    pub misdirected_writes: u64,
    /// Reads that were not to wait for the disk and would have had to.
    pub cold_reads: u64,
}

impl SimCounts {
    /// Each with its name.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 11] {
        [
            ("lost writes", self.lost_writes),
            ("torn writes", self.torn_writes),
            ("writes with holes", self.holed_writes),
            ("zeroed writes", self.zeroed_writes),
            ("reordered writes", self.reordered_writes),
            ("failed syncs", self.failed_syncs),
            ("writes on a full disk", self.refused_writes),
            ("short writes", self.short_writes),
            ("flipped bits", self.flips),
            ("misdirected writes", self.misdirected_writes),
            ("cold reads", self.cold_reads),
        ]
    }
}

impl AddAssign for SimCounts {
    fn add_assign(&mut self, other: SimCounts) {
        // In whole, so that none is forgotten.
        let SimCounts {
            lost_writes,
            torn_writes,
            holed_writes,
            zeroed_writes,
            reordered_writes,
            failed_syncs,
            refused_writes,
            short_writes,
            flips,
            misdirected_writes,
            cold_reads,
        } = other;
        self.lost_writes += lost_writes;
        self.torn_writes += torn_writes;
        self.holed_writes += holed_writes;
        self.zeroed_writes += zeroed_writes;
        self.reordered_writes += reordered_writes;
        self.failed_syncs += failed_syncs;
        self.refused_writes += refused_writes;
        self.short_writes += short_writes;
        self.flips += flips;
        self.misdirected_writes += misdirected_writes;
        self.cold_reads += cold_reads;
    }
}

impl fmt::Display for SimCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, count)) in self.named().into_iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(f, "{separator}{count} {name}")?;
        }
        Ok(())
    }
}
