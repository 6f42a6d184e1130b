//! What is read of an inner packet before anything else: version and true length (RFC 791, RFC 8200).

/// Length of an IPv4 header without options.
pub const V4_HEADER: usize = 20;
/// Length of the fixed IPv6 header.
pub const V6_HEADER: usize = 40;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// Length by the IP header, without WireGuard's padding; `None` when this is no IP packet or contradicts itself.
pub fn true_length(packet: &[u8]) -> Option<usize> {
    if packet.len() < V4_HEADER {
        return None;
    }
    match packet[0] >> 4 {
        4 => {
            let length = be16(packet, 2);
            (V4_HEADER..=packet.len()).contains(&length).then_some(length)
        }
        6 if packet.len() >= V6_HEADER => {
            let length = V6_HEADER + be16(packet, 4);
            (length <= packet.len()).then_some(length)
        }
        _ => None,
    }
}

/// A big-endian 16-bit field.
pub fn be16(data: &[u8], at: usize) -> usize {
    usize::from(data[at]) << 8 | usize::from(data[at + 1])
}

/// A big-endian 32-bit field.
pub fn be32(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}

/// Write a big-endian 16-bit field.
pub fn put16(data: &mut [u8], at: usize, value: u16) {
    data[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_lengths() {
        let mut v4 = [0u8; 32];
        v4[0] = 0x45;
        v4[3] = 24;
        assert_eq!(true_length(&v4), Some(24));
        let mut v6 = [0u8; 48];
        v6[0] = 0x60;
        v6[5] = 8;
        assert_eq!(true_length(&v6), Some(48));
    }

    #[test]
    fn fail_contradictions() {
        let mut v4 = [0u8; 32];
        assert_eq!(true_length(&v4), None);
        v4[0] = 0x45;
        for length in [0, 19, 33] {
            v4[3] = length;
            assert_eq!(true_length(&v4), None);
        }
        assert_eq!(true_length(&v4[..19]), None);
        let mut v6 = [0u8; 48];
        v6[0] = 0x60;
        v6[5] = 9;
        assert_eq!(true_length(&v6), None);
        assert_eq!(true_length(&v6[..39]), None);
    }
}
