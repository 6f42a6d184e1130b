//! What the device hands over at one time for one peer: plain packets and super-packets become one arena of slots.
//!
//! Slots that one segmented send can carry lie back to back as a run: all of one size, the last may be shorter. The end
//! of a super-packet and the beginning of the next one so share a run where their sizes allow it.

use crate::cut::{
    checksum_fits, fill_checksum, padded_size, plan, write_segments, BadPacket, Offload, Plan, SLOT_HEADER,
    SLOT_OVERHEAD,
};
use crate::transport::Transport;

/// Slots of one size back to back in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where the first slot begins.
    pub begin: usize,
    /// Behind the last slot.
    pub end: usize,
    /// Bytes from slot to slot; the last may be shorter.
    pub stride: usize,
}

/// One packet: a super-packet has a plan.
struct Part<'a> {
    data: &'a [u8],
    offload: Offload,
    plan: Option<Plan>,
    stride: usize,
    total: usize,
    count: usize,
}

/// Packets in order, understood but not yet written.
#[derive(Default)]
pub struct Batch<'a> {
    parts: Vec<Part<'a>>,
    mtu: usize,
    /// Runs in order, which together are the arena.
    pub runs: Vec<Run>,
    /// Slots.
    pub count: usize,
    /// Bytes of the arena.
    pub total: usize,
    /// Bytes of all inner packets as they go out.
    pub payload: usize,
    /// Packets that cannot be cut, which are left out.
    pub bad: usize,
}

impl<'a> Batch<'a> {
    /// Lay out `packets`; those with a `gso_size` are super-packets, `csum_start` of others says that a checksum is
    /// left to us. Padding ends at `mtu` (0: no limit).
    pub fn new(packets: impl Iterator<Item = (&'a [u8], Offload)>, mtu: usize) -> Self {
        let mut batch = Self { mtu, ..Self::default() };
        for (data, offload) in packets {
            if batch.add(data, offload).is_err() {
                batch.bad += 1;
            }
        }
        batch
    }

    fn add(&mut self, data: &'a [u8], offload: Offload) -> Result<(), BadPacket> {
        let part = if offload.gso_size != 0 {
            let plan = plan(data, &offload, self.mtu)?;
            self.payload += plan.payload();
            Part { data, offload, stride: plan.stride, total: plan.total, count: plan.count, plan: Some(plan) }
        } else {
            if offload.csum_start != 0 && !checksum_fits(data.len(), &offload) {
                return Err(BadPacket);
            }
            self.payload += data.len();
            let size = SLOT_OVERHEAD + padded_size(data.len(), self.mtu);
            Part { data, offload, stride: size, total: size, count: 1, plan: None }
        };
        self.place(part.stride, part.count - 1);
        self.place(part.total - part.stride * (part.count - 1), 1);
        self.parts.push(part);
        Ok(())
    }

    /// `count` more slots of one size.
    fn place(&mut self, size: usize, count: usize) {
        if count == 0 {
            return;
        }
        let begin = self.total;
        self.count += count;
        self.total += size * count;
        if let Some(run) = self.runs.last_mut() {
            let whole = (run.end - run.begin) % run.stride == 0;
            if whole && (size == run.stride || (size < run.stride && count == 1)) {
                run.end = self.total;
                return;
            }
        }
        self.runs.push(Run { begin, end: self.total, stride: size });
    }

    /// Write and seal every slot into `out`, zeroed and of `total` bytes, with `count` counters from `first` on.
    pub fn seal(&self, out: &mut [u8], transport: &Transport, first: u64) {
        let (mut rest, mut counter) = (out, first);
        for part in &self.parts {
            let (slots, after) = rest.split_at_mut(part.total);
            match &part.plan {
                Some(plan) => write_segments(part.data, plan, slots),
                None => part.write_plain(slots),
            }
            transport.seal_slots(slots, part.stride, counter);
            counter += part.count as u64;
            rest = after;
        }
    }
}

impl Part<'_> {
    fn write_plain(&self, slot: &mut [u8]) {
        let place = &mut slot[SLOT_HEADER..SLOT_HEADER + self.data.len()];
        place.copy_from_slice(self.data);
        if self.offload.csum_start != 0 {
            let filled = fill_checksum(place, &self.offload);
            debug_assert!(filled.is_ok(), "`add` has seen that it fits");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::GSO_TCPV4;
    use crate::inner::{put16, TCP};

    const PLAIN: Offload = Offload { gso_type: 0, gso_size: 0, csum_start: 0, csum_offset: 0 };
    const SUPER: Offload = Offload { gso_type: GSO_TCPV4, gso_size: 1240, csum_start: 20, csum_offset: 16 };

    fn tcp(payload: usize) -> Vec<u8> {
        let mut data = vec![7u8; 40 + payload];
        data[0] = 0x45;
        put16(&mut data, 2, (40 + payload) as u16);
        data[9] = TCP;
        data[32] = 0x50;
        data
    }

    fn runs(packets: &[(Vec<u8>, Offload)]) -> Vec<(usize, usize)> {
        let batch = Batch::new(packets.iter().map(|(data, offload)| (&data[..], *offload)), 1280);
        let ends: Vec<usize> = batch.runs.iter().map(|run| run.end).collect();
        assert_eq!(ends.last().copied().unwrap_or(0), batch.total);
        batch.runs.iter().map(|run| (run.end - run.begin, run.stride)).collect()
    }

    #[test]
    fn ok_super_packets_of_whole_segments_share_a_run() {
        let whole = (tcp(1240 * 3), SUPER);
        assert_eq!(runs(&[whole.clone(), whole.clone()]), [(6 * 1312, 1312)]);
        let short = (tcp(1240 * 2 + 8), SUPER);
        assert_eq!(runs(&[whole, short.clone(), short]), [(5 * 1312 + 80, 1312), (2 * 1312 + 80, 1312)]);
    }

    #[test]
    fn ok_plain_packets_share_a_run_while_they_are_no_larger() {
        let of = |size: usize| (vec![0x45; size], PLAIN);
        assert_eq!(runs(&[of(100), of(110), of(20), of(20), of(90)]), [(2 * 144 + 64, 144), (64, 64), (128, 128)]);
        assert_eq!(runs(&[]), []);
    }

    #[test]
    fn ok_every_slot_opens_in_order() {
        let make = |send: u8, receive: u8| Transport::new(&[send; 32], &[receive; 32], 1, 100, 128).unwrap();
        let (sender, receiver) = (make(1, 2), make(2, 1));
        let packets =
            [(tcp(60), PLAIN), (tcp(3000), SUPER), (tcp(9), Offload { gso_type: 9, ..SUPER }), (tcp(5), PLAIN)];
        let batch = Batch::new(packets.iter().map(|(data, offload)| (&data[..], *offload)), 1280);
        assert_eq!((batch.count, batch.bad, batch.payload), (5, 1, 100 + 3120 + 45));
        let mut out = vec![0; batch.total];
        batch.seal(&mut out, &sender, sender.reserve(batch.count as u64).unwrap());
        let mut sizes = Vec::new();
        for run in &batch.runs {
            let opened = receiver.open_run(&mut [(&mut out[run.begin..run.end], run.stride)], 0, 0);
            assert_eq!((opened.forged, opened.replays), (0, 0));
            sizes.extend(opened.packets.iter().map(|(_, begin, end)| end - begin));
        }
        assert_eq!(sizes, [100, 1280, 1280, 560, 45]);
    }

    #[test]
    fn fail_a_checksum_outside_its_packet() {
        let packet = tcp(0);
        let bad = Offload { csum_start: 39, csum_offset: 6, ..PLAIN };
        assert_eq!(Batch::new([(&packet[..], bad)].into_iter(), 1280).bad, 1);
    }
}
