//! millstream-log.
