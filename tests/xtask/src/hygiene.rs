//! What must not stand in a tracked file: the paths of one machine, and the hosts of package registries
//! (a lock file of cargo's names its index; that is cargo's format and let be). And the lock files must be those of
//! their manifests: the one of the fuzz targets, which are a workspace of their own, is easily forgotten.

use std::fs;
use std::process::Command;

use crate::tally::{Report, Tally};
use crate::tools::{find, root};

/// In two pieces, so that this file does not hold them itself.
const FORBIDDEN: [(&str, &str); 12] = [
    ("crates", ".io"),
    ("registry.npm", "js.org"),
    ("registry.yarn", "pkg.com"),
    ("py", "pi.org"),
    ("python", "hosted.org"),
    ("proxy.go", "lang.org"),
    ("sum.go", "lang.org"),
    ("repo1.maven", ".org"),
    ("repo.maven", ".apache.org"),
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/tmp/tar", "get"),
];
/// Larger files are data.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// One check for each lock file and each forbidden text.
pub fn check() -> Tally {
    let mut report = Report::new("hygiene");
    for manifest in ["Cargo.toml", "tests/fuzz/Cargo.toml"] {
        report.check(&format!("the lock file of {manifest}"), is_locked(manifest));
    }
    if find("git").is_none() || !root().join(".git").exists() {
        report.skip("tracked files", "this is not a git work tree");
        return report.finish();
    }
    match tracked_texts() {
        Ok(texts) => {
            for (head, tail) in FORBIDDEN {
                let forbidden = format!("{head}{tail}");
                let found: Vec<String> = texts
                    .iter()
                    .filter_map(|(name, text)| place(name, text, &forbidden))
                    .collect();
                let outcome = if found.is_empty() {
                    Ok(())
                } else {
                    Err(found.join(", "))
                };
                report.check(&format!("no tracked file holds {head}…"), outcome);
            }
        }
        Err(reason) => {
            report.check("tracked files", Err(reason));
        }
    }
    report.finish()
}

fn is_locked(manifest: &str) -> Result<(), String> {
    let output = Command::new("cargo")
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--manifest-path", manifest])
        .current_dir(root())
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn tracked_texts() -> Result<Vec<(String, String)>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .map_err(|e| format!("git: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut texts = Vec::new();
    for name in names
        .split('\0')
        .filter(|name| !name.is_empty() && !name.ends_with("Cargo.lock"))
    {
        let path = root().join(name);
        // A file that is removed but not yet committed, or no text.
        if fs::metadata(&path).is_ok_and(|found| found.len() <= FILE_BYTES_MAX)
            && let Ok(text) = fs::read_to_string(&path)
        {
            texts.push((name.to_owned(), text));
        }
    }
    Ok(texts)
}

fn place(name: &str, text: &str, forbidden: &str) -> Option<String> {
    let line = text.lines().position(|line| line.contains(forbidden))?;
    Some(format!("{name}:{}", line + 1))
}
