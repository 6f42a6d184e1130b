//! Sliding window over received counters (RFC 6479): late packets pass once, repeated ones never.

/// Remembers `bits` counters in a ring, of which `bits - 64` below the greatest are usable.
pub struct ReplayWindow {
    blocks: Vec<u64>,
    next: u64,
}

impl ReplayWindow {
    /// `bits` is a power of two of at least 128; anything else is `None`.
    pub fn new(bits: usize) -> Option<Self> {
        (bits >= 128 && bits.is_power_of_two()).then(|| Self { blocks: vec![0; bits / 64], next: 0 })
    }

    fn usable(&self) -> u64 {
        (self.blocks.len() as u64 - 1) * 64
    }

    fn slot(&self, counter: u64) -> usize {
        (counter >> 6) as usize & (self.blocks.len() - 1)
    }

    /// Whether the counter is new; changes nothing, so it may run before authentication.
    pub fn may_accept(&self, counter: u64) -> bool {
        if counter >= self.next {
            return true;
        }
        self.next - 1 - counter < self.usable() && self.blocks[self.slot(counter)] & (1 << (counter & 63)) == 0
    }

    /// Note an authenticated counter; false when it was seen before or is too old. `u64::MAX` is never accepted.
    pub fn mark(&mut self, counter: u64) -> bool {
        if counter == u64::MAX || !self.may_accept(counter) {
            return false;
        }
        if counter >= self.next {
            let fresh = counter >> 6;
            let known = if self.next == 0 { None } else { Some((self.next - 1) >> 6) };
            let first = known.map_or(0, |top| top + 1).max(fresh.saturating_sub(self.blocks.len() as u64 - 1));
            for block in first..=fresh {
                let slot = block as usize & (self.blocks.len() - 1);
                self.blocks[slot] = 0;
            }
            self.next = counter + 1;
        }
        let slot = self.slot(counter);
        self.blocks[slot] |= 1 << (counter & 63);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ok_against_a_plain_model() {
        let mut window = ReplayWindow::new(256).unwrap();
        let (mut seen, mut greatest, mut state) = (HashSet::new(), 0u64, 7u64);
        for _ in 0..50_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let leap = if state >> 60 == 0 { (state >> 33) % 2000 } else { (state >> 33) % 9 };
            let counter = (greatest + leap).saturating_sub((state >> 40) % 230);
            let old = !seen.is_empty() && counter <= greatest && greatest - counter >= 192;
            let expected = !old && !seen.contains(&counter);
            assert_eq!(window.may_accept(counter), expected, "{counter} {greatest}");
            assert_eq!(window.mark(counter), expected);
            if expected {
                seen.insert(counter);
                greatest = greatest.max(counter);
            }
        }
    }

    #[test]
    fn fail_sizes_and_the_end_of_the_numbers() {
        assert!([0, 64, 100, 129].iter().all(|bits| ReplayWindow::new(*bits).is_none()));
        let mut window = ReplayWindow::new(128).unwrap();
        assert!(window.mark(u64::MAX - 1));
        assert!(!window.mark(u64::MAX - 1));
        assert!(!window.mark(u64::MAX));
        assert!(!window.mark(0));
    }
}
