//! The Internet checksum (RFC 1071), as sums modulo 65535: 0 stands for 0xFFFF too.

/// Sum of the big-endian 16-bit words; an odd last byte counts as a high byte. Below 65535.
pub fn ones_sum(data: &[u8]) -> u32 {
    // One's complement sums do not care for byte order: sum native words, swap the bytes of the result.
    // The halves of eight bytes are summed apart, which 32 GiB of data could not overflow: compilers vectorize this.
    let (mut low, mut high) = (0u64, 0u64);
    let mut blocks = data.chunks_exact(8);
    for block in &mut blocks {
        let [a, b, c, d, e, f, g, h] = *block else { continue };
        let word = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        low = low.wrapping_add(word & 0xFFFF_FFFF);
        high = high.wrapping_add(word >> 32);
    }
    let mut total = u64::from(fold(low)) + u64::from(fold(high));
    let mut words = blocks.remainder().chunks_exact(2);
    for word in &mut words {
        total += u64::from(u16::from_ne_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        total += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    let folded = fold(total);
    u32::from(u16::from_be(folded)) % 65535
}

fn fold(mut total: u64) -> u16 {
    while total > 0xFFFF {
        total = (total >> 16) + (total & 0xFFFF);
    }
    total as u16
}

/// The field value for a sum of everything else; 0xFFFF for an all-zero sum, never 0.
pub fn field(total: u32) -> u16 {
    (65535 - total % 65535) as u16
}

/// Sum of the pseudo header of TCP or UDP over an IPv4 or IPv6 packet.
pub fn pseudo_sum(packet: &[u8], v4: bool, protocol: u8, length: usize) -> u32 {
    let addresses = if v4 { &packet[12..20] } else { &packet[8..40] };
    ones_sum(addresses) + u32::from(protocol) + (length as u32 >> 16) + (length as u32 & 0xFFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(data: &[u8]) -> u32 {
        let mut total: u64 = 0;
        for pair in data.chunks(2) {
            total += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
        (total % 65535) as u32
    }

    #[test]
    fn ok_equals_a_plain_sum_at_every_length() {
        let data: Vec<u8> = (0..5000u32).map(|n| (n.wrapping_mul(2654435761) >> 24) as u8).collect();
        for size in (0..200).chain([1023, 1368, 1419, 1420, 4999, 5000]) {
            assert_eq!(ones_sum(&data[..size]), naive(&data[..size]), "{size}");
        }
        assert_eq!(ones_sum(&[0xFF; 64]), 0);
    }

    #[test]
    fn ok_rfc_1071_example() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(ones_sum(&data), 0xddf2);
        assert_eq!(field(0xddf2), !0xddf2);
        assert_eq!(field(0), 0xFFFF);
    }
}
