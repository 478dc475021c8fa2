//! millstream-quorum.
