//! WireGuard transport packets in bulk: a super-packet of the TUN device becomes sealed segments in one buffer, a
//! received batch becomes opened and joined super-packets. No sockets, no clock, no policy; nothing here panics on
//! hostile bytes.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod batch;
pub mod checksum;
pub mod cut;
pub mod inner;
pub mod join;
pub mod replay;
pub mod transport;
