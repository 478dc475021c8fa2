//! What the machine has. A part whose tool is absent is skipped and says so; where `CI=true` it is an error.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Whether this is the run that must leave nothing out.
pub fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}

/// The first of `names` that is not on the PATH.
pub fn first_missing<'a>(names: &[&'a str]) -> Option<&'a str> {
    names.iter().copied().find(|name| find(name).is_none())
}

/// Where a program is on the PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The root of the source tree.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("xtask lies two folders below the root")
        .to_owned()
}

/// Cargo, as it runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds; our own caches lie there too, outside the source tree's tracked files.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(path) => root().join(path),
        None => root().join("target"),
    }
}
