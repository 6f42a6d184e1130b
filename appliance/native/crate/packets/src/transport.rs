//! One WireGuard key pair: sealing and opening of many transport messages (WireGuard paper 5.4.6), safe from any thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, CHACHA20_POLY1305};

use crate::cut::{SLOT_HEADER, SLOT_OVERHEAD};
use crate::inner::true_length;
use crate::replay::ReplayWindow;

const TAG: usize = 16;
const TRANSPORT: u32 = 4;

/// The key pair's message limit is reached: rekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached;

/// A key pair of one session.
pub struct Transport {
    sealer: LessSafeKey,
    opener: LessSafeKey,
    remote_index: u32,
    limit: u64,
    sent: AtomicU64,
    window: Mutex<ReplayWindow>,
}

/// What came of a run of received messages.
#[derive(Debug, Default)]
pub struct Opened {
    /// Inner packets without padding: buffer number, begin, end.
    pub packets: Vec<(usize, usize, usize)>,
    /// Where the run ended: buffer number and offset of the first message that does not belong to it.
    pub stopped: (usize, usize),
    /// Bytes of authentic messages.
    pub authentic: usize,
    /// Whether anything but keepalives came.
    pub data: bool,
    /// Messages that came before, are too old or beyond the limit.
    pub replays: u64,
    /// Messages that are not authentic.
    pub forged: u64,
    /// Authentic messages that hold no sound IP packet.
    pub bad_inner: u64,
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has the cipher's length"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl Transport {
    /// `limit` is how many messages may be sealed, and the first counter that is not opened; `window_bits` see
    /// `ReplayWindow`.
    pub fn new(send: &[u8; 32], receive: &[u8; 32], remote_index: u32, limit: u64, window_bits: usize) -> Option<Self> {
        Some(Self {
            sealer: cipher(send),
            opener: cipher(receive),
            remote_index,
            limit,
            sent: AtomicU64::new(0),
            window: Mutex::new(ReplayWindow::new(window_bits)?),
        })
    }

    /// Messages sealed so far, which is the next counter.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether `count` more messages may be sealed.
    pub fn room(&self, count: u64) -> bool {
        self.sent().checked_add(count).is_some_and(|sum| sum <= self.limit)
    }

    /// Take `count` counters before any is used, so that no failure and no other thread can make one come twice.
    pub fn reserve(&self, count: u64) -> Result<u64, LimitReached> {
        self.sent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sent| {
                sent.checked_add(count).filter(|sum| *sum <= self.limit)
            })
            .map_err(|_| LimitReached)
    }

    /// Seal every slot in place with reserved counters from `first` on: `stride` bytes each, the last may be shorter.
    /// Every slot has at least `SLOT_OVERHEAD` bytes.
    pub fn seal_slots(&self, slots: &mut [u8], stride: usize, first: u64) {
        for (slot, counter) in slots.chunks_mut(stride.max(SLOT_OVERHEAD)).zip(first..) {
            let end = slot.len() - TAG;
            slot[..4].copy_from_slice(&TRANSPORT.to_le_bytes());
            slot[4..8].copy_from_slice(&self.remote_index.to_le_bytes());
            slot[8..16].copy_from_slice(&counter.to_le_bytes());
            let tag = self
                .sealer
                .seal_in_place_separate_tag(nonce(counter), Aad::empty(), &mut slot[SLOT_HEADER..end])
                .expect("a slot is shorter than the cipher's limit");
            slot[end..].copy_from_slice(tag.as_ref());
        }
    }

    fn window(&self) -> MutexGuard<'_, ReplayWindow> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a message with this counter may still be opened.
    pub fn may_open(&self, counter: u64) -> bool {
        counter < self.limit && self.window().may_accept(counter)
    }

    /// Decrypt one transport message in place; the plaintext with its padding. `None` when it is forged or repeated.
    pub fn open<'a>(&self, message: &'a mut [u8], counter: u64) -> Option<&'a mut [u8]> {
        let plain = self.decrypt(message, counter)?;
        self.window().mark(counter).then_some(plain)
    }

    fn decrypt<'a>(&self, message: &'a mut [u8], counter: u64) -> Option<&'a mut [u8]> {
        let sealed = message.get_mut(SLOT_HEADER..)?;
        self.opener.open_in_place(nonce(counter), Aad::empty(), sealed).ok()
    }

    /// Open the messages of `buffers` (each: packets of `size` bytes, the last may be shorter) from `offset` of the
    /// first on, as long as their first `skip` + 8 bytes are those of the first message: one kind, one receiver.
    pub fn open_run(&self, buffers: &mut [(&mut [u8], usize)], offset: usize, skip: usize) -> Opened {
        let mut opened = Opened::default();
        let mut head: Option<Vec<u8>> = None;
        let mut begin = offset;
        for (number, (buffer, size)) in buffers.iter_mut().enumerate() {
            while begin < buffer.len() {
                let end = buffer.len().min(begin.saturating_add((*size).max(1)));
                let datagram = &mut buffer[begin..end];
                let known = head.get_or_insert_with(|| datagram.iter().take(skip + 8).copied().collect());
                if datagram.len() < skip + SLOT_OVERHEAD || known.len() < skip + 8 || !datagram.starts_with(known) {
                    opened.stopped = (number, begin);
                    return opened;
                }
                if let Some((from, to)) = self.take(&mut datagram[skip..], &mut opened) {
                    opened.packets.push((number, begin + skip + from, begin + skip + to));
                }
                begin = end;
            }
            begin = 0;
        }
        opened.stopped = (buffers.len(), 0);
        opened
    }

    /// One message of a run: where its inner packet lies.
    fn take(&self, message: &mut [u8], opened: &mut Opened) -> Option<(usize, usize)> {
        let size = message.len();
        let counter = u64::from_le_bytes(message[8..16].try_into().ok()?);
        if !self.may_open(counter) {
            opened.replays += 1;
            return None;
        }
        let Some(plain) = self.decrypt(message, counter) else {
            opened.forged += 1;
            return None;
        };
        if !self.window().mark(counter) {
            opened.replays += 1;
            return None;
        }
        opened.authentic += size;
        if plain.is_empty() {
            return None;
        }
        opened.data = true;
        let length = true_length(plain);
        opened.bad_inner += u64::from(length.is_none());
        length.map(|length| (SLOT_HEADER, SLOT_HEADER + length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::thread;

    const STRIDE: usize = SLOT_OVERHEAD + 32;

    fn pair(limit: u64) -> (Transport, Transport) {
        let (one, two) = ([1; 32], [2; 32]);
        let make = |send, receive, index| Transport::new(send, receive, index, limit, 8192).unwrap();
        (make(&one, &two, 7), make(&two, &one, 8))
    }

    fn sealed(sender: &Transport, count: usize) -> Vec<u8> {
        let mut slots = vec![0; STRIDE * count];
        for slot in slots.chunks_mut(STRIDE) {
            slot[16] = 0x45;
            slot[19] = 24;
        }
        let first = sender.reserve(count as u64).unwrap();
        sender.seal_slots(&mut slots, STRIDE, first);
        slots
    }

    fn open(receiver: &Transport, batch: &mut [u8]) -> Opened {
        receiver.open_run(&mut [(batch, STRIDE)], 0, 0)
    }

    #[test]
    fn ok_a_run_there_and_back() {
        let (a, b) = pair(100);
        let mut batch = sealed(&a, 5);
        assert_eq!(batch[..16], [4, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let opened = open(&b, &mut batch);
        assert_eq!(opened.packets.len(), 5);
        assert_eq!(opened.packets[1], (0, STRIDE + 16, STRIDE + 40));
        assert_eq!((opened.authentic, opened.data, opened.stopped), (5 * STRIDE, true, (1, 0)));
    }

    #[test]
    fn fail_replayed_reordered_forged_truncated() {
        let (a, b) = pair(100);
        let batch = sealed(&a, 4);
        let reordered: Vec<u8> = batch.chunks(STRIDE).rev().flatten().copied().collect();
        assert_eq!(open(&b, &mut reordered.clone()).packets.len(), 4);
        let again = open(&b, &mut batch.clone());
        assert_eq!((again.packets.len(), again.replays), (0, 4));
        let mut forged = sealed(&a, 1);
        forged[20] ^= 1;
        let refused = open(&b, &mut forged.clone());
        assert_eq!((refused.packets.len(), refused.forged, refused.authentic), (0, 1, 0));
        forged[20] ^= 1;
        assert_eq!(open(&b, &mut forged.clone()[..40]).forged, 1);
        assert_eq!(open(&b, &mut forged.clone()[..31]).stopped, (0, 0));
        assert_eq!(open(&b, &mut forged).packets.len(), 1);
    }

    #[test]
    fn ok_a_run_stops_where_another_begins() {
        let (a, b) = pair(100);
        let mut batch = sealed(&a, 3);
        batch[STRIDE + 4] = 9;
        assert_eq!(open(&b, &mut batch).stopped, (0, STRIDE));
        let mut good = sealed(&a, 2);
        let mut stranger = vec![1u8; STRIDE];
        let opened = b.open_run(&mut [(&mut good, STRIDE), (&mut stranger, STRIDE)], 0, 0);
        assert_eq!((opened.packets.len(), opened.stopped), (2, (1, 0)));
    }

    #[test]
    fn ok_the_limit_stops_the_counter() {
        let (a, b) = pair(3);
        assert!(a.room(3) && !a.room(4) && !a.room(u64::MAX));
        assert_eq!(a.reserve(4), Err(LimitReached));
        let _ = sealed(&a, 3);
        assert_eq!(a.reserve(1), Err(LimitReached));
        assert_eq!(a.sent(), 3);
        assert!(b.may_open(2) && !b.may_open(3));
        let (last, _) = pair(u64::MAX);
        assert_eq!(last.reserve(u64::MAX), Ok(0));
        assert_eq!(last.reserve(1), Err(LimitReached));
    }

    #[test]
    fn ok_no_counter_twice_across_threads() {
        let (a, _) = pair(u64::MAX);
        let seen = thread::scope(|scope| {
            let work = |_| scope.spawn(|| (0..500).flat_map(|n| sealed(&a, 1 + n % 4)).collect::<Vec<u8>>());
            let threads: Vec<_> = (0..4).map(work).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<u8>>()
        });
        let counters: HashSet<&[u8]> = seen.chunks(STRIDE).map(|slot| &slot[8..16]).collect();
        assert_eq!(counters.len(), seen.len() / STRIDE);
        assert_eq!(counters.len() as u64, a.sent());
    }

    #[test]
    fn ok_each_message_once_across_threads() {
        let (a, b) = pair(u64::MAX);
        let batch = sealed(&a, 2000);
        let taken: usize = thread::scope(|scope| {
            let work = |_| scope.spawn(|| open(&b, &mut batch.clone()).packets.len());
            let threads: Vec<_> = (0..4).map(work).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 2000);
    }
}
