//! How much memory the process may use.

use std::fs;
use std::path::{Path, PathBuf};

/// The memory of the machine, or what the process's control groups leave of it, in bytes. `None` where
/// the system does not say.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| total_of_meminfo(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups)
        .into_iter()
        .filter_map(|path| limit(&path));
    limits.chain(machine).min()
}

/// The line `MemTotal:  16303868 kB`.
fn total_of_meminfo(text: &str) -> Option<u64> {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The files that may hold a limit: of the process's group, and of all above it, for each binds.
///
/// A line of `/proc/self/cgroup` is `0::/path` in version 2, `5:memory:/path` in version 1. Within a
/// container the path may be one that is not seen there; the root's file is the container's then.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(path.trim_start_matches('/'));
        files.extend(
            group
                .ancestors()
                .map(|above| Path::new(root).join(above).join(name)),
        );
    }
    files
}

/// A limit of `max` is none.
fn limit(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_kibibytes() {
        let text = "MemTotal:       16303868 kB\nMemFree:         1 kB\n";
        assert_eq!(total_of_meminfo(text), Some(16_303_868 * 1024));
        assert_eq!(total_of_meminfo("MemFree: 1 kB\n"), None);
        assert_eq!(total_of_meminfo("MemTotal: much\n"), None);
    }

    #[test]
    fn limits_are_looked_for_in_the_group_and_all_above() {
        let show = |groups| -> Vec<String> {
            let files = limit_files(groups).into_iter();
            files.map(|path| path.display().to_string()).collect()
        };
        let second = ["a/b/memory.max", "a/memory.max", "memory.max"];
        assert_eq!(
            show("0::/a/b\n"),
            second.map(|file| format!("/sys/fs/cgroup/{file}"))
        );
        let first = ["c/memory.limit_in_bytes", "memory.limit_in_bytes"];
        let expected = first.map(|file| format!("/sys/fs/cgroup/memory/{file}"));
        assert_eq!(show("4:cpu:/x\n5:hugetlb,memory:/c\nnonsense\n"), expected);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(memory_bytes().is_none_or(|bytes| bytes > 1 << 20));
    }
}
