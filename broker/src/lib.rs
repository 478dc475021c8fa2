//! millstream.
