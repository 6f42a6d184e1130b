//! Joining received TCP segments of one flow into a super-packet for one write to the TUN device.
//!
//! Only neighbours that a cut would give back exactly are joined: same headers but for lengths, IPv4 id, sequence, PSH
//! and checksums; consecutive sequence numbers; verified checksums. The order within a flow is kept.

use std::collections::HashMap;

use crate::checksum::{field, ones_sum, pseudo_sum};
use crate::cut::{GSO_TCPV4, GSO_TCPV6};
use crate::inner::{be16, be32, put16, TCP, V4_HEADER, V6_HEADER};

const MAX_SUPER: usize = 65535;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// One packet for the device, with its virtio_net_hdr fields; `gso_size` 0 is a plain packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// Bytes of the packet.
    pub size: usize,
    /// Sum of the sizes of the packets that it was joined from.
    pub received: usize,
    /// How many packets it was joined from.
    pub count: usize,
    /// Kind of super-packet.
    pub gso_type: u8,
    /// Payload bytes of each segment.
    pub gso_size: usize,
    /// Bytes of IP and TCP headers.
    pub header: usize,
    /// Where the TCP header begins.
    pub csum_start: usize,
}

struct Segment {
    v4: bool,
    tcp: usize,
    header: usize,
    payload: usize,
    sequence: u32,
    flags: u8,
}

/// What an open super-packet needs to know of its parts.
struct Joined<'a> {
    first: &'a [u8],
    more: Vec<&'a [u8]>,
    segment: Option<Segment>,
    size: usize,
    received: usize,
    next_sequence: u32,
    push: u8,
    closed: bool,
}

/// Packets in order, with joinable TCP neighbours joined; nothing is copied before `write`.
pub struct Joiner<'a> {
    items: Vec<Joined<'a>>,
    open: HashMap<&'a [u8], usize>,
}

/// The fields that matter here, when this is a whole TCP segment: not a fragment, no IPv4 options.
fn segment(packet: &[u8]) -> Option<Segment> {
    let v4 = *packet.first()? == 0x45;
    let (tcp, is_tcp) = if v4 {
        (V4_HEADER, packet.len() >= V4_HEADER && packet[9] == TCP && packet[6] & 0x3F == 0 && packet[7] == 0)
    } else {
        (V6_HEADER, packet.len() >= V6_HEADER && packet[0] >> 4 == 6 && packet[6] == TCP)
    };
    if !is_tcp || packet.len() < tcp + 20 {
        return None;
    }
    let header = tcp + usize::from(packet[tcp + 12] >> 4) * 4;
    let payload = packet.len().saturating_sub(header);
    Some(Segment { v4, tcp, header, payload, sequence: be32(packet, tcp + 4), flags: packet[tcp + 13] })
}

fn flow<'a>(packet: &'a [u8], segment: &Segment) -> &'a [u8] {
    if segment.v4 {
        &packet[12..24]
    } else {
        &packet[8..44]
    }
}

fn checksum_ok(packet: &[u8], segment: &Segment) -> bool {
    let tcp = segment.tcp;
    (pseudo_sum(packet, segment.v4, TCP, packet.len() - tcp) + ones_sum(&packet[tcp..])) % 65535 == 0
}

/// Whether all that must be equal is: class, IPv4 flags, hop limit, acknowledgment, window, urgent pointer, options.
fn alike(one: &[u8], other: &[u8], segment: &Segment) -> bool {
    let ip = if segment.v4 {
        one[1] == other[1] && one[6..9] == other[6..9]
    } else {
        one[..4] == other[..4] && one[7] == other[7]
    };
    let (tcp, header) = (segment.tcp, segment.header);
    ip && one[tcp + 8..tcp + 13] == other[tcp + 8..tcp + 13]
        && one[tcp + 14..tcp + 16] == other[tcp + 14..tcp + 16]
        && one[tcp + 18..header] == other[tcp + 18..header]
}

impl<'a> Joiner<'a> {
    /// Join `packets`: each a whole IP packet without padding. With `join` false every packet stays as it is.
    pub fn new(packets: impl ExactSizeIterator<Item = &'a [u8]>, join: bool) -> Self {
        let mut joiner = Self { items: Vec::with_capacity(packets.len().min(64)), open: HashMap::new() };
        for packet in packets {
            if join {
                joiner.add(packet);
            } else {
                joiner.push(packet, None);
            }
        }
        joiner
    }

    fn push(&mut self, packet: &'a [u8], segment: Option<Segment>) {
        let (next_sequence, push) = segment
            .as_ref()
            .map_or((0, 0), |segment| (segment.sequence.wrapping_add(segment.payload as u32), segment.flags & PSH));
        self.items.push(Joined {
            first: packet,
            more: Vec::new(),
            closed: segment.is_none() || push != 0,
            segment,
            size: packet.len(),
            received: packet.len(),
            next_sequence,
            push,
        });
    }

    fn add(&mut self, packet: &'a [u8]) {
        let Some(segment) = segment(packet) else {
            self.push(packet, None);
            return;
        };
        let flow = flow(packet, &segment);
        if segment.payload == 0 || segment.header < segment.tcp + 20 || segment.flags & !PSH != ACK {
            self.open.remove(flow);
            self.push(packet, None);
            return;
        }
        if let Some(&at) = self.open.get(flow) {
            if self.items[at].extend(packet, &segment) {
                if self.items[at].closed {
                    self.open.remove(flow);
                }
                return;
            }
        }
        self.push(packet, Some(segment));
        if self.items[self.items.len() - 1].closed {
            self.open.remove(flow);
        } else {
            self.open.insert(flow, self.items.len() - 1);
        }
    }

    /// Bytes of all packets for the device.
    pub fn total(&self) -> usize {
        self.items.iter().map(|item| item.size).sum()
    }

    /// Write the packets back to back into `out` of `total` bytes.
    pub fn write(&self, out: &mut [u8]) -> Vec<Packet> {
        let mut rest = out;
        let mut packets = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let (place, after) = rest.split_at_mut(item.size);
            packets.push(item.write(place));
            rest = after;
        }
        packets
    }
}

impl<'a> Joined<'a> {
    fn extend(&mut self, packet: &'a [u8], next: &Segment) -> bool {
        let Some(own) = &self.segment else { return false };
        if own.header != next.header
            || self.next_sequence != next.sequence
            || next.payload > own.payload
            || self.size + next.payload > MAX_SUPER
            || !alike(self.first, packet, own)
            || !checksum_ok(packet, next)
            || (self.more.is_empty() && !checksum_ok(self.first, own))
        {
            return false;
        }
        self.push = next.flags & PSH;
        self.closed = next.payload < own.payload || self.push != 0;
        self.size += next.payload;
        self.received += packet.len();
        self.next_sequence = next.sequence.wrapping_add(next.payload as u32);
        self.more.push(&packet[next.header..]);
        true
    }

    fn write(&self, out: &mut [u8]) -> Packet {
        let plain =
            Packet { size: self.size, received: self.received, count: 1 + self.more.len(), ..Packet::default() };
        let (place, mut rest) = out.split_at_mut(self.first.len());
        place.copy_from_slice(self.first);
        let own = match &self.segment {
            Some(own) if !self.more.is_empty() => own,
            _ => return plain,
        };
        for payload in &self.more {
            let (place, after) = rest.split_at_mut(payload.len());
            place.copy_from_slice(payload);
            rest = after;
        }
        own.finish(out, self.push);
        Packet {
            gso_type: if own.v4 { GSO_TCPV4 } else { GSO_TCPV6 },
            gso_size: own.payload,
            header: own.header,
            csum_start: own.tcp,
            ..plain
        }
    }
}

impl Segment {
    /// Headers of the whole: length, IPv4 checksum, PSH, and the pseudo header's part of the TCP checksum.
    fn finish(&self, packet: &mut [u8], push: u8) {
        let size = packet.len();
        if self.v4 {
            put16(packet, 2, size as u16);
            put16(packet, 10, 0);
            let sum = ones_sum(&packet[..V4_HEADER]);
            put16(packet, 10, field(sum));
        } else {
            put16(packet, 4, (size - V6_HEADER) as u16);
        }
        packet[self.tcp + 13] |= push;
        let sum = pseudo_sum(packet, self.v4, TCP, size - self.tcp) % 65535;
        put16(packet, self.tcp + 16, sum as u16);
        debug_assert_eq!(be16(packet, self.tcp + 16), sum as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(port: u8, sequence: u32, payload: &[u8], flags: u8) -> Vec<u8> {
        let mut data = vec![0u8; 40];
        data[0] = 0x45;
        put16(&mut data, 2, (40 + payload.len()) as u16);
        data[8] = 64;
        data[9] = TCP;
        data[12..20].copy_from_slice(&[100, 64, 0, 1, 100, 64, 0, 2]);
        data[21] = port;
        data[24..28].copy_from_slice(&sequence.to_be_bytes());
        data[32] = 0x50;
        data[33] = flags;
        data.extend_from_slice(payload);
        let sum = field(ones_sum(&data[..20]));
        put16(&mut data, 10, sum);
        let sum = field(pseudo_sum(&data, true, TCP, data.len() - 20) + ones_sum(&data[20..]));
        put16(&mut data, 36, sum);
        data
    }

    fn join(packets: &[Vec<u8>]) -> (Vec<Packet>, Vec<u8>) {
        let joiner = Joiner::new(packets.iter().map(Vec::as_slice), true);
        let mut out = vec![0; joiner.total()];
        (joiner.write(&mut out), out)
    }

    fn sizes(packets: &[Vec<u8>]) -> Vec<usize> {
        join(packets).0.iter().map(|packet| packet.size).collect()
    }

    #[test]
    fn ok_neighbours_become_one_with_their_payload() {
        let parts: Vec<_> = (0..3).map(|n| tcp(1, 1 + n * 100, &[n as u8; 100], ACK)).collect();
        let (packets, bytes) = join(&parts);
        let whole =
            Packet { size: 340, received: 420, count: 3, gso_type: 1, gso_size: 100, header: 40, csum_start: 20 };
        assert_eq!(packets, [whole]);
        assert_eq!(ones_sum(&bytes[..20]), 0);
        let payload: Vec<u8> = (0..3u8).flat_map(|n| [n; 100]).collect();
        assert_eq!(bytes[40..], payload);
    }

    #[test]
    fn ok_two_flows_interleaved_keep_their_order() {
        let parts: Vec<_> = (0..6u32).map(|n| tcp((n % 2) as u8, 1 + n / 2 * 100, &[n as u8; 100], ACK)).collect();
        assert_eq!(sizes(&parts), [340, 340]);
        let (_, bytes) = join(&parts);
        assert_eq!([bytes[40], bytes[140], bytes[240]], [0, 2, 4]);
        assert_eq!([bytes[380], bytes[480], bytes[580]], [1, 3, 5]);
    }

    #[test]
    fn fail_what_differs_stays_apart() {
        let first = tcp(1, 1, &[0; 100], ACK);
        for other in [tcp(1, 102, &[0; 100], ACK), tcp(1, 101, &[0; 101], ACK), tcp(1, 101, &[0; 9], ACK | 1)] {
            assert_eq!(sizes(&[first.clone(), other.clone()]), [140, other.len()]);
        }
    }

    #[test]
    fn fail_a_wrong_checksum_is_never_hidden() {
        for bad in 0..3 {
            let mut parts: Vec<_> = (0..3).map(|n| tcp(1, 1 + n * 100, &[n as u8; 100], ACK)).collect();
            parts[bad][50] ^= 1;
            let (packets, _) = join(&parts);
            assert!(packets.iter().any(|packet| packet.gso_size == 0), "{bad}");
            assert!(packets.iter().all(|packet| packet.count < 3), "{bad}");
        }
    }

    #[test]
    fn ok_push_and_short_segments_end_a_run() {
        let parts = [
            tcp(1, 1, &[0; 100], ACK),
            tcp(1, 101, &[0; 100], ACK | PSH),
            tcp(1, 201, &[0; 100], ACK),
            tcp(1, 301, &[0; 50], ACK),
            tcp(1, 351, &[0; 50], ACK),
        ];
        assert_eq!(sizes(&parts), [240, 190, 90]);
    }
}
