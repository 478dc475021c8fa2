//! How many files and sockets the process may have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open descriptors as far as the process may raise it by itself, and answers what
/// holds then. `None`: without limit.
///
/// Service managers start processes with a low limit and a high bound of it, so that those which use
/// `select` stay safe; nothing here does. Where raising fails, the limit stays as it is.
#[must_use]
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_holds() {
        let limit = raise_descriptor_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, limit);
        assert_eq!(raise_descriptor_limit(), limit);
    }
}
