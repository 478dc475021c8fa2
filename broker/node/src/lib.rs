//! millstream-node.
