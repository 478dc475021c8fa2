//! The names of a simulated file system. Ordered by their bytes, so that what lies below a directory
//! is a range, found without a look at every name.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::file::FileState;

/// What a name names.
#[derive(Clone)]
pub(super) enum Node {
    Directory,
    File(Arc<Mutex<FileState>>),
}

/// Names, each a whole path. *Bounds*: paths are plain, without `.`, `..` or a slash too many.
#[derive(Clone, Default)]
pub(super) struct Names(BTreeMap<OsString, Node>);

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<&Node> {
        self.0.get(path.as_os_str())
    }

    pub(super) fn insert(&mut self, path: &Path, node: Node) -> Option<Node> {
        self.0.insert(path.as_os_str().to_owned(), node)
    }

    pub(super) fn remove(&mut self, path: &Path) -> Option<Node> {
        self.0.remove(path.as_os_str())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.0.iter().map(|(name, node)| (Path::new(name), node))
    }

    /// All that lies below a directory.
    pub(super) fn below(&self, directory: &Path) -> Vec<PathBuf> {
        let below = self.range_below(directory);
        below.map(|(name, _)| PathBuf::from(name)).collect()
    }

    /// What lies in a directory itself.
    pub(super) fn children(&self, directory: &Path) -> Vec<(PathBuf, Node)> {
        let start = prefix(directory).len();
        let is_child = |name: &OsStr| !name.as_encoded_bytes()[start..].contains(&b'/');
        let children = self.range_below(directory);
        let children = children.filter(|(name, _)| is_child(name));
        children
            .map(|(name, node)| (PathBuf::from(name), node.clone()))
            .collect()
    }

    /// Removes a name and all below it. Answers whether it was there.
    pub(super) fn remove_all(&mut self, path: &Path) -> bool {
        for name in self.below(path) {
            self.remove(&name);
        }
        self.remove(path).is_some()
    }

    /// The names that name something else here than they do in `other`, or are in one of them only.
    pub(super) fn changed_from(&self, other: &Names) -> Vec<PathBuf> {
        let here = self.0.keys();
        let only_there = other.0.keys().filter(|name| !self.0.contains_key(*name));
        let changed = |name: &&OsString| !same(self.0.get(*name), other.0.get(*name));
        let changed = here.chain(only_there).filter(changed);
        changed.map(PathBuf::from).collect()
    }

    /// A name whose parent is not there is gone with it.
    pub(super) fn drop_orphans(&mut self) {
        // In order, so that a parent is judged before what lies below it.
        let names: Vec<OsString> = self.0.keys().cloned().collect();
        for name in names {
            let parent = Path::new(&name).parent();
            let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
            if parent.is_some_and(|parent| parent != Path::new("/") && self.get(parent).is_none()) {
                self.0.remove(&name);
            }
        }
    }

    fn range_below(&self, directory: &Path) -> impl Iterator<Item = (&OsString, &Node)> {
        let prefix = prefix(directory);
        let from = (Bound::Excluded(prefix.clone()), Bound::Unbounded);
        let is_below = move |name: &OsString| {
            let bytes = name.as_encoded_bytes();
            bytes.starts_with(prefix.as_encoded_bytes())
        };
        let rest = self.0.range::<OsString, _>(from);
        rest.take_while(move |(name, _)| is_below(name))
    }
}

/// What the names below a directory begin with.
fn prefix(directory: &Path) -> OsString {
    let mut prefix = directory.as_os_str().to_owned();
    if !prefix.as_encoded_bytes().ends_with(b"/") {
        prefix.push("/");
    }
    prefix
}

fn same(a: Option<&Node>, b: Option<&Node>) -> bool {
    match (a, b) {
        (None, None) | (Some(Node::Directory), Some(Node::Directory)) => true,
        (Some(Node::File(a)), Some(Node::File(b))) => Arc::ptr_eq(a, b),
        _ => false,
    }
}
