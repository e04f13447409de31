//! Providers: how an endpoint gets nodes. There is one, the local one: this node.

pub mod local;
