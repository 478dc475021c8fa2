//! millstream-metadata.
