//! Cutting super-packets of the TUN device (virtio 1.2 section 5.1.6) into WireGuard slots.
//!
//! A slot is the wire form of one packet: 16 bytes of header, the padded plaintext, 16 bytes for the tag. Every segment
//! gets its own lengths, IPv4 id, sequence number, flags and checksums (RFC 9293 3.1, RFC 768).

use crate::checksum::{field, ones_sum, pseudo_sum};
use crate::inner::{be16, be32, put16, TCP, UDP, V4_HEADER, V6_HEADER};

/// virtio_net_hdr: TCP over IPv4.
pub const GSO_TCPV4: u8 = 1;
/// virtio_net_hdr: TCP over IPv6.
pub const GSO_TCPV6: u8 = 4;
/// virtio_net_hdr: UDP datagrams.
pub const GSO_UDP_L4: u8 = 5;
/// Bytes of a slot before the plaintext.
pub const SLOT_HEADER: usize = 16;
/// Bytes of a slot beside the plaintext.
pub const SLOT_OVERHEAD: usize = 32;
const GSO_ECN: u8 = 0x80;
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;
const MAX_PACKET: usize = 65535;
const MAX_SEGMENTS: usize = 2048;

/// What virtio_net_hdr says of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offload {
    /// Kind of super-packet; 0 is a plain packet.
    pub gso_type: u8,
    /// Payload bytes of each segment.
    pub gso_size: usize,
    /// Where the transport header, and its checksum, begins.
    pub csum_start: usize,
    /// Where the checksum field lies behind `csum_start`.
    pub csum_offset: usize,
}

/// The device handed over something that cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPacket;

/// Plaintext size after zero padding to 16, never above `mtu` (0: no limit).
pub fn padded_size(size: usize, mtu: usize) -> usize {
    let padded = (size + 15) & !15;
    if mtu == 0 {
        padded
    } else {
        padded.min(mtu).max(size)
    }
}

/// How a super-packet is cut: sizes only, nothing written yet.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    v4: bool,
    protocol: u8,
    transport: usize,
    header: usize,
    step: usize,
    /// Segments.
    pub count: usize,
    /// Bytes of every segment but the last.
    pub full: usize,
    /// Bytes of the last segment.
    pub last: usize,
    /// Bytes from slot to slot.
    pub stride: usize,
    /// Bytes of all slots.
    pub total: usize,
}

impl Plan {
    /// Bytes of all segments, without slots' overhead and padding.
    pub fn payload(&self) -> usize {
        self.full * (self.count - 1) + self.last
    }
}

/// Understand a super-packet.
pub fn plan(data: &[u8], offload: &Offload, mtu: usize) -> Result<Plan, BadPacket> {
    let protocol = match offload.gso_type & !GSO_ECN {
        GSO_TCPV4 | GSO_TCPV6 => TCP,
        GSO_UDP_L4 => UDP,
        _ => return Err(BadPacket),
    };
    if !(V4_HEADER..=MAX_PACKET).contains(&data.len()) || offload.gso_size == 0 {
        return Err(BadPacket);
    }
    let v4 = data[0] >> 4 == 4;
    let transport = offload.csum_start;
    if transport < if v4 { V4_HEADER } else { V6_HEADER } || data.len() < transport + 20 {
        return Err(BadPacket);
    }
    let header = transport + if protocol == UDP { 8 } else { usize::from(data[transport + 12] >> 4) * 4 };
    if data.len() <= header || (protocol == TCP && header < transport + 20) {
        return Err(BadPacket);
    }
    let payload = data.len() - header;
    let count = payload.div_ceil(offload.gso_size);
    if count > MAX_SEGMENTS {
        return Err(BadPacket);
    }
    let last = header + payload - (count - 1) * offload.gso_size;
    let full = if count > 1 { header + offload.gso_size } else { last };
    let stride = SLOT_OVERHEAD + padded_size(full, mtu);
    let total = stride * (count - 1) + SLOT_OVERHEAD + padded_size(last, mtu);
    Ok(Plan { v4, protocol, transport, header, step: offload.gso_size, count, full, last, stride, total })
}

/// Write the segments of a planned super-packet into `out`: zeroed, of `plan.total` bytes.
pub fn write_segments(data: &[u8], plan: &Plan, out: &mut [u8]) {
    let mut header = data[..plan.header].to_vec();
    let mut id = 0;
    if plan.v4 {
        id = be16(&header, 4) as u16;
        header[2..6].fill(0);
        header[10..12].fill(0);
    }
    let ip_sum = if plan.v4 { ones_sum(&header[..plan.transport]) } else { 0 };
    let template = Template { plan, ip_sum, id };
    if plan.protocol == TCP {
        template.write_tcp(data, header, out);
    } else {
        template.write_udp(data, header, out);
    }
}

struct Template<'a> {
    plan: &'a Plan,
    ip_sum: u32,
    id: u16,
}

impl Template<'_> {
    fn slots<'b>(&self, data: &'b [u8], out: &'b mut [u8]) -> impl Iterator<Item = (&'b mut [u8], &'b [u8])> {
        let payloads = data[self.plan.header..].chunks(self.plan.step);
        let size = self.plan.header;
        out.chunks_mut(self.plan.stride)
            .zip(payloads)
            .map(move |(slot, payload)| (&mut slot[SLOT_HEADER..SLOT_HEADER + size + payload.len()], payload))
    }

    fn write_ip(&self, segment: &mut [u8], number: usize) {
        let size = segment.len();
        if self.plan.v4 {
            let id = self.id.wrapping_add(number as u16);
            put16(segment, 2, size as u16);
            put16(segment, 4, id);
            put16(segment, 10, field(self.ip_sum + size as u32 + u32::from(id)));
        } else {
            put16(segment, 4, (size - V6_HEADER) as u16);
        }
    }

    fn write_tcp(&self, data: &[u8], mut header: Vec<u8>, out: &mut [u8]) {
        let (tcp, head, last) = (self.plan.transport, self.plan.header, self.plan.count - 1);
        let mut sequence = be32(&header, tcp + 4);
        let flags = header[tcp + 13];
        header[tcp + 4..tcp + 8].fill(0);
        header[tcp + 13] = 0;
        header[tcp + 16..tcp + 18].fill(0);
        let base = pseudo_sum(&header, self.plan.v4, TCP, 0) + ones_sum(&header[tcp..]);
        for (number, (segment, payload)) in self.slots(data, out).enumerate() {
            segment[..head].copy_from_slice(&header);
            segment[head..].copy_from_slice(payload);
            let mut flag = flags;
            if number != last {
                flag &= !FIN_PSH;
            }
            if number != 0 {
                flag &= !CWR;
            }
            self.write_ip(segment, number);
            segment[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
            segment[tcp + 13] = flag;
            let length = (segment.len() - tcp) as u32;
            let numbers = (sequence >> 16) + (sequence & 0xFFFF) + u32::from(flag) + length;
            put16(segment, tcp + 16, field(base + numbers + ones_sum(payload)));
            sequence = sequence.wrapping_add(self.plan.step as u32);
        }
    }

    fn write_udp(&self, data: &[u8], mut header: Vec<u8>, out: &mut [u8]) {
        let (udp, head) = (self.plan.transport, self.plan.header);
        header[udp + 4..udp + 8].fill(0);
        let base = pseudo_sum(&header, self.plan.v4, UDP, 0) + ones_sum(&header[udp..]);
        for (number, (segment, payload)) in self.slots(data, out).enumerate() {
            segment[..head].copy_from_slice(&header);
            segment[head..].copy_from_slice(payload);
            self.write_ip(segment, number);
            let length = segment.len() - udp;
            put16(segment, udp + 4, length as u16);
            put16(segment, udp + 6, field(base + 2 * length as u32 + ones_sum(payload)));
        }
    }
}

/// Whether the checksum that is left to us lies inside a packet of `size` bytes.
pub fn checksum_fits(size: usize, offload: &Offload) -> bool {
    offload.csum_start < size && offload.csum_start + offload.csum_offset + 2 <= size
}

/// A plain packet in a slot's plaintext: fill in the transport checksum that the kernel left to us.
pub fn fill_checksum(packet: &mut [u8], offload: &Offload) -> Result<(), BadPacket> {
    if !checksum_fits(packet.len(), offload) {
        return Err(BadPacket);
    }
    let at = offload.csum_start + offload.csum_offset;
    let value = field(ones_sum(&packet[offload.csum_start..]));
    put16(packet, at, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP super-packet over IPv4 with `payload` bytes.
    fn tcp(payload: usize) -> Vec<u8> {
        let mut data = vec![0u8; 40 + payload];
        data[0] = 0x45;
        put16(&mut data, 2, (40 + payload) as u16);
        put16(&mut data, 4, 0xFFFE);
        data[8] = 64;
        data[9] = TCP;
        data[12..20].copy_from_slice(&[100, 64, 0, 1, 100, 64, 0, 2]);
        data[24..28].copy_from_slice(&0xFFFF_FF00u32.to_be_bytes());
        data[32] = 0x50;
        data[33] = 0x99;
        for (at, byte) in data[40..].iter_mut().enumerate() {
            *byte = at as u8;
        }
        data
    }

    fn valid(packet: &[u8]) -> bool {
        let whole = pseudo_sum(packet, true, TCP, packet.len() - 20) + ones_sum(&packet[20..]);
        ones_sum(&packet[..20]) == 0 && whole % 65535 == 0
    }

    #[test]
    fn ok_segments_with_their_own_fields() {
        let data = tcp(2500);
        let offload = Offload { gso_type: GSO_TCPV4, gso_size: 1000, csum_start: 20, csum_offset: 16 };
        let plan = plan(&data, &offload, 1280).unwrap();
        assert_eq!((plan.count, plan.full, plan.last, plan.stride), (3, 1040, 540, 32 + 1040));
        assert_eq!(plan.payload(), 2620);
        let mut out = vec![0; plan.total];
        write_segments(&data, &plan, &mut out);
        let mut payload = Vec::new();
        for (number, slot) in out.chunks(plan.stride).enumerate() {
            let segment = &slot[16..16 + if number == 2 { 540 } else { 1040 }];
            assert!(valid(segment), "{number}");
            assert_eq!(be32(segment, 24), 0xFFFF_FF00u32.wrapping_add(1000 * number as u32));
            assert_eq!(be16(segment, 4), [0xFFFE, 0xFFFF, 0][number]);
            assert_eq!(segment[33], [0x90, 0x10, 0x19][number]);
            assert_eq!(slot[..16], [0; 16]);
            payload.extend_from_slice(&segment[40..]);
        }
        assert_eq!(payload, data[40..]);
    }

    #[test]
    fn fail_nonsense_from_the_device() {
        let good = Offload { gso_type: GSO_TCPV4, gso_size: 1000, csum_start: 20, csum_offset: 16 };
        let data = tcp(2500);
        for bad in [
            Offload { gso_type: 9, ..good },
            Offload { gso_size: 0, ..good },
            Offload { gso_size: 1, ..good },
            Offload { csum_start: 0, ..good },
            Offload { csum_start: 65535, ..good },
        ] {
            assert_eq!(plan(&data, &bad, 1280).unwrap_err(), BadPacket);
        }
        assert!(plan(&data[..40], &good, 1280).is_err());
        assert!(plan(&vec![0x45; 65536], &good, 1280).is_err());
        let mut short_header = data.clone();
        short_header[32] = 0x40;
        assert!(plan(&short_header, &good, 1280).is_err());
    }

    #[test]
    fn ok_checksum_left_to_us() {
        let mut data = tcp(11);
        let part = (pseudo_sum(&data, true, TCP, 31) % 65535) as u16;
        put16(&mut data, 36, part);
        let offload = Offload { csum_start: 20, csum_offset: 16, ..Offload::default() };
        fill_checksum(&mut data, &offload).unwrap();
        assert_eq!((pseudo_sum(&data, true, TCP, 31) + ones_sum(&data[20..])) % 65535, 0);
        let outside = Offload { csum_start: 20, csum_offset: 65535, ..Offload::default() };
        assert!(fill_checksum(&mut data, &outside).is_err());
    }
}
