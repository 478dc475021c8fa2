//! Power cuts at every boundary, full disks and failed syncs, on the simulated disk.
#![allow(clippy::unwrap_used)]

mod common;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use common::{directory, new_disk, open, payloads, records, started};
use millstream_env::sim::{SimDisk, SimFaults, SimRandom};
use millstream_env::{DirectoryEntry, Disk, File, Space, Volume};
use millstream_quorum::{ProposeError, Quorum};

/// A disk whose power goes after a number of calls that change something: from then on all fail.
#[derive(Clone)]
struct PowerCut {
    disk: SimDisk,
    calls_left: Arc<AtomicI64>,
}

impl PowerCut {
    fn call<T>(&self, call: impl FnOnce(&SimDisk) -> io::Result<T>) -> io::Result<T> {
        self.spend()?;
        call(&self.disk)
    }

    fn spend(&self) -> io::Result<()> {
        match self.calls_left.fetch_sub(1, Ordering::SeqCst) > 0 {
            true => Ok(()),
            false => Err(io::Error::other("power is off")),
        }
    }

    fn is_off(&self) -> bool {
        self.calls_left.load(Ordering::SeqCst) < 0
    }
}

impl Disk for PowerCut {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.call(|disk| disk.create_directory(path))
    }
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let file = self.call(|disk| disk.open(path, create))?;
        Ok(Arc::new(PoweredFile {
            file,
            power: self.clone(),
        }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|disk| disk.rename(from, to))
    }
    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.call(|disk| disk.link(file, name))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(|disk| disk.remove_file(path))
    }
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.call(|disk| disk.remove_directory(path))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.disk.list(path)
    }
    fn length(&self, path: &Path) -> io::Result<u64> {
        self.disk.length(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.call(|disk| disk.sync_directory(path))
    }
    fn volume(&self, directory: &Path) -> io::Result<Arc<dyn Volume>> {
        self.disk.volume(directory)
    }
    fn space(&self, directory: &Path) -> io::Result<Space> {
        self.disk.space(directory)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }
}

struct PoweredFile {
    file: Arc<dyn File>,
    power: PowerCut,
}

impl File for PoweredFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }
    fn write_vectored_at(&self, parts: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.power.spend()?;
        self.file.write_vectored_at(parts, position)
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.power.spend()?;
        self.file.truncate(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.power.spend()?;
        self.file.sync_data()
    }
    fn forget_cached(&self, position: u64) -> io::Result<()> {
        self.power.spend()?;
        self.file.forget_cached(position)
    }
}

/// What the log must hold: proposals that were answered, and one that may be there or not.
#[derive(Default)]
struct Oracle {
    answered: Vec<Vec<String>>,
    in_flight: Option<Vec<String>>,
    last_term: u64,
    proposals: u64,
}

impl Oracle {
    /// Checks what was loaded, and takes a whole proposal in flight as answered from now on.
    fn check(&mut self, loaded: &[String]) {
        let answered = self.answered.concat();
        if loaded == answered {
            self.in_flight = None;
            return;
        }
        let in_flight = self.in_flight.take().unwrap_or_default();
        self.answered.push(in_flight);
        assert_eq!(loaded, self.answered.concat());
    }
}

/// The state in a snapshot and in the entries behind it.
fn state_of(loaded: &millstream_quorum::Loaded) -> Vec<String> {
    let snapshot = loaded.snapshot.as_deref().unwrap_or_default();
    let text = std::str::from_utf8(snapshot).unwrap();
    let mut state: Vec<String> = text.lines().map(str::to_string).collect();
    state.extend(payloads(loaded));
    state
}

/// One life of the process: opens, checks, proposes and makes snapshots until the power goes.
fn live(disk: &PowerCut, oracle: &mut Oracle, random: &SimRandom) {
    let Ok((mut quorum, loaded)) = Quorum::open(Arc::new(disk.clone()), directory()) else {
        assert!(disk.is_off(), "a crash never makes a log that is refused");
        return;
    };
    oracle.check(&state_of(&loaded));
    let Ok(term) = quorum.lead() else { return };
    assert!(term.0 > oracle.last_term);
    oracle.last_term = term.0;
    for _ in 0..20 {
        let count = 1 + random.below(3);
        let mut payloads = Vec::new();
        for number in 0..count {
            let length = random.below(700) as usize;
            payloads.push(format!(
                "{}.{number}.{}",
                oracle.proposals,
                "x".repeat(length)
            ));
        }
        oracle.proposals += 1;
        oracle.in_flight = Some(payloads.clone());
        let texts: Vec<&str> = payloads.iter().map(String::as_str).collect();
        if quorum.propose(&records(&texts)).is_err() {
            return;
        }
        oracle.in_flight = None;
        oracle.answered.push(payloads);
        if random.chance(15) {
            let state = oracle.answered.concat().join("\n");
            if quorum
                .snapshot(state.as_bytes(), quorum.last_index())
                .is_err()
            {
                return;
            }
        }
    }
}

#[test]
fn answered_proposals_survive_power_cuts_at_every_boundary() {
    let mut torn_logs = 0;
    for seed in 0..25 {
        let random = SimRandom::new(seed);
        let disk = new_disk();
        let mut oracle = Oracle::default();
        // Each life gets one call further than the one before, so every boundary is met.
        for life in 0..60 {
            let power = PowerCut {
                disk: disk.clone(),
                calls_left: Arc::new(AtomicI64::new(life + seed as i64 % 7)),
            };
            live(&power, &mut oracle, &random);
            disk.crash(&random);
            if let Ok((_, loaded)) = open(&disk) {
                torn_logs += usize::from(loaded.torn_bytes > 0);
            }
        }
        let (_, loaded) = started(&disk);
        oracle.check(&state_of(&loaded));
    }
    assert!(
        torn_logs > 50,
        "the crashes tear too little to prove much: {torn_logs}"
    );
}

#[test]
fn a_disk_that_lies_about_syncs_is_caught_by_the_same_check() {
    let lost = (0..20).any(|seed| {
        let disk = new_disk();
        let (mut quorum, _) = started(&disk);
        disk.set_faults(SimFaults {
            syncs_do_nothing: true,
            ..SimFaults::default()
        });
        quorum.propose(&records(&["promised"])).unwrap();
        disk.crash(&SimRandom::new(seed));
        open(&disk).is_ok_and(|(_, loaded)| payloads(&loaded).is_empty())
    });
    assert!(lost, "a missing sync must be seen");
}

#[test]
fn killed_process_loses_nothing() {
    let disk = new_disk();
    for round in 0..5 {
        let (mut quorum, loaded) = started(&disk);
        assert_eq!(payloads(&loaded).len(), round);
        quorum.propose(&records(&["x"])).unwrap();
        disk.end_process();
    }
}

#[test]
fn full_disk_refuses_and_goes_on_when_there_is_room() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    quorum.propose(&records(&["before"])).unwrap();
    disk.set_faults(SimFaults {
        room: Some(20),
        ..SimFaults::default()
    });
    let refused = quorum.propose(&records(&["does not fit"]));
    assert!(matches!(refused, Err(ProposeError::Refused { .. })));
    let refused = quorum.snapshot(b"does not fit either, by far", quorum.last_index());
    assert!(refused.is_err());
    disk.set_faults(SimFaults::default());
    quorum.propose(&records(&["after"])).unwrap();
    quorum.snapshot(b"state", quorum.last_index()).unwrap();
    quorum.propose(&records(&["last"])).unwrap();
    disk.crash(&SimRandom::new(1));
    let (_, loaded) = started(&disk);
    assert_eq!(loaded.snapshot.as_deref(), Some(&b"state"[..]));
    assert_eq!(payloads(&loaded), ["last"]);
}

#[test]
fn short_writes_are_gone_on_with() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    disk.set_faults(SimFaults {
        short_next_write: true,
        ..SimFaults::default()
    });
    quorum.propose(&records(&["in two parts"])).unwrap();
    disk.crash(&SimRandom::new(1));
    assert_eq!(payloads(&open(&disk).unwrap().1), ["in two parts"]);
}

#[test]
fn after_a_failed_sync_nothing_is_proposed_until_a_restart() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    quorum.propose(&records(&["before"])).unwrap();
    disk.set_faults(SimFaults {
        fail_next_sync: true,
        ..SimFaults::default()
    });
    let failed = quorum.propose(&records(&["unsure"]));
    assert!(matches!(failed, Err(ProposeError::Failed { .. })));
    let failed = quorum.propose(&records(&["later"]));
    assert!(
        matches!(failed, Err(ProposeError::Failed { .. })),
        "though the disk works again"
    );
    assert!(matches!(quorum.lead(), Err(ProposeError::Failed { .. })));
    disk.crash(&SimRandom::new(3));
    let (mut quorum, loaded) = started(&disk);
    assert_eq!(payloads(&loaded), ["before"]);
    quorum.propose(&records(&["again"])).unwrap();
}
