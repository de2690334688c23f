//! What an answer of Produce and Fetch tells a client that asked the wrong broker (KIP-951): who leads, and where that is.

use crate::primitives::{EncodeError, Writer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentLeader {
    pub leader_id: i32,
    pub leader_epoch: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeEndpoint<'a> {
    pub node_id: i32,
    pub host: &'a str,
    pub port: i32,
    pub rack: Option<&'a str>,
}

impl CurrentLeader {
    pub(crate) fn write(self, w: &mut Writer) {
        w.i32(self.leader_id);
        w.i32(self.leader_epoch);
        w.no_tags();
    }
}

/// The tagged fields that close an answer: none, or tag 0 with the endpoints.
pub(crate) fn write_node_endpoints(
    w: &mut Writer,
    endpoints: &[NodeEndpoint<'_>],
) -> Result<(), EncodeError> {
    if endpoints.is_empty() {
        w.no_tags();
        return Ok(());
    }
    w.unsigned_varint(1);
    let start = w.begin_tag(0);
    w.array_len(Some(endpoints.len()), true)?;
    for endpoint in endpoints {
        w.i32(endpoint.node_id);
        w.string(endpoint.host, true)?;
        w.i32(endpoint.port);
        w.nullable_string(endpoint.rack, true)?;
        w.no_tags();
    }
    w.end_tag(start)
}
