//! Hostile bytes for everything here that the network or the device reaches: `fuzz [seconds] [seed]`.
//!
//! Mutates sound inputs, runs them through cutting, sealing, opening and joining, and panics (exit 101) on a finding:
//! a panic, or a property that does not hold. No nightly compiler and no instrumentation is needed.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use waypost_packets::batch::{Batch, Run};
use waypost_packets::cut::{fill_checksum, Offload};
use waypost_packets::inner::true_length;
use waypost_packets::join::Joiner;
use waypost_packets::transport::Transport;

/// A small generator (splitmix64); the same seed gives the same inputs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn mutate(&mut self, data: &mut Vec<u8>) {
        for _ in 0..self.below(4) {
            let at = self.below(data.len());
            if let Some(byte) = data.get_mut(at) {
                *byte = self.next() as u8;
            }
        }
        if self.below(8) == 0 {
            let size = self.below(data.len() + 1);
            data.truncate(size);
        }
    }
}

fn tcp(random: &mut Random, v4: bool, sequence: u32, payload: usize) -> Vec<u8> {
    let start = if v4 { 20 } else { 40 };
    let mut data = vec![0u8; start + 20 + payload];
    if v4 {
        let size = (data.len() as u16).to_be_bytes();
        data[0] = 0x45;
        data[2..4].copy_from_slice(&size);
        data[9] = 6;
    } else {
        let size = ((20 + payload) as u16).to_be_bytes();
        data[0] = 0x60;
        data[4..6].copy_from_slice(&size);
        data[6] = 6;
    }
    data[start + 4..start + 8].copy_from_slice(&sequence.to_be_bytes());
    data[start + 12] = 0x50;
    data[start + 13] = if random.below(8) == 0 { 0x18 } else { 0x10 };
    data
}

/// What a device hands over, or something like it.
fn device(random: &mut Random) -> (Vec<u8>, Offload) {
    let v4 = random.below(2) == 0;
    let payload = 1 + random.below(6000);
    let mut data = tcp(random, v4, random.0 as u32, payload);
    random.mutate(&mut data);
    let offload = Offload {
        gso_type: if random.below(16) == 0 {
            random.next() as u8
        } else if v4 {
            1
        } else {
            4
        },
        gso_size: if random.below(4) == 0 { 0 } else { 1 + random.below(1500) },
        csum_start: if random.below(16) == 0 {
            random.below(80)
        } else if v4 {
            20
        } else {
            40
        },
        csum_offset: if random.below(16) == 0 { random.below(70_000) } else { 16 },
    };
    (data, offload)
}

/// Mutated packets of the device, laid out and sealed.
fn round(random: &mut Random, ends: &(Transport, Transport)) {
    let packets: Vec<_> = (0..1 + random.below(3)).map(|_| device(random)).collect();
    for (data, offload) in &packets {
        let _ = fill_checksum(&mut data.clone(), offload);
        let _ = true_length(data);
    }
    let batch = Batch::new(packets.iter().map(|(data, offload)| (&data[..], *offload)), random.below(2) * 1280);
    let mut arena = vec![0; batch.total];
    let Ok(first) = ends.0.reserve(batch.count as u64) else { return };
    batch.seal(&mut arena, &ends.0, first);
    let slots = |run: &Run| (run.end - run.begin).div_ceil(run.stride);
    assert_eq!(batch.runs.iter().map(slots).sum::<usize>(), batch.count);
    assert_eq!(batch.runs.iter().map(|run| run.end - run.begin).sum::<usize>(), batch.total);
    for run in &batch.runs {
        receive(random, ends, &arena[run.begin..run.end], run.stride);
    }
}

/// Sealed slots, disturbed, opened, joined: what is joined is never more than what came.
fn receive(random: &mut Random, ends: &(Transport, Transport), sealed: &[u8], stride: usize) {
    let mut slots = sealed.to_vec();
    if random.below(2) == 0 {
        random.mutate(&mut slots);
    }
    let size = if random.below(16) == 0 { random.below(stride + 9) } else { stride };
    let skip = random.below(16) / 15 * 8;
    for pass in 0..1 + usize::from(random.below(4) == 0) {
        let mut batch = slots.clone();
        let opened = ends.1.open_run(&mut [(&mut batch, size)], 0, skip);
        assert!(pass == 0 || opened.authentic == 0, "a repeated batch was opened");
        let packets: Vec<&[u8]> = opened.packets.iter().map(|(_, begin, end)| &batch[*begin..*end]).collect();
        check_joined(&packets);
    }
}

fn check_joined(packets: &[&[u8]]) {
    let given: usize = packets.iter().map(|packet| packet.len()).sum();
    let joiner = Joiner::new(packets.iter().copied(), true);
    let mut out = vec![0; joiner.total()];
    let joined = joiner.write(&mut out);
    assert_eq!(joined.iter().map(|packet| packet.received).sum::<usize>(), given);
    assert_eq!(joined.iter().map(|packet| packet.count).sum::<usize>(), packets.len());
    assert!(joined.iter().all(|packet| packet.size <= 65535));
}

/// Packets of an authorised but hostile peer: any bytes, straight into joining.
fn hostile(random: &mut Random) {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for number in 0..random.below(6) {
        let mut packet = tcp(random, number % 2 == 0, number as u32 / 2 * 50, 50);
        random.mutate(&mut packet);
        packets.push(packet);
    }
    let sound: Vec<&[u8]> =
        packets.iter().filter_map(|packet| true_length(packet).map(|length| &packet[..length])).collect();
    check_joined(&sound);
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<u64>().ok());
    let (seconds, seed) = (arguments.next().unwrap_or(10), arguments.next().unwrap_or(0));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(seed);
    let make = |send: &[u8; 32], receive: &[u8; 32]| Transport::new(send, receive, 1, u64::MAX, 8192);
    let ends = make(&[1; 32], &[2; 32]).zip(make(&[2; 32], &[1; 32])).expect("8192 is a good window");
    let mut rounds: u64 = 0;
    while Instant::now() < end {
        for _ in 0..64 {
            round(&mut random, &ends);
            hostile(&mut random);
        }
        rounds += 64;
    }
    println!("{rounds} rounds, seed {seed}, no finding");
}
