//! Which blocks of a leased piece have come. Their bytes are the driver's business.

/// Blocks of one piece that is being filled: one bit for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    words: Vec<u64>,
    block_count: usize,
    missing_count: usize,
}

/// Whether a block was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// It was missing.
    New {
        /// It was the last: the piece is whole, which is said once.
        full: bool,
    },
    /// It was there.
    Known,
}

impl Lease {
    /// No block of `block_count`.
    pub fn new(block_count: usize) -> Self {
        let words = block_count.div_ceil(Self::WORD_BITS);
        Self {
            words: vec![0; words],
            block_count,
            missing_count: block_count,
        }
    }

    /// A block came.
    ///
    /// # Panics
    /// If the piece has no block `index`. Only blocks that this node asked for get here.
    pub fn arrived(&mut self, index: usize) -> Arrived {
        assert!(
            index < self.block_count,
            "block {index} of {}",
            self.block_count
        );
        let word = &mut self.words[index / Self::WORD_BITS];
        let bit = 1 << (index % Self::WORD_BITS);
        if *word & bit != 0 {
            return Arrived::Known;
        }
        *word |= bit;
        assert!(self.missing_count > 0, "a block that comes was missing");
        self.missing_count -= 1;
        let full = self.is_full();
        if full {
            self.check_invariants();
        }
        Arrived::New { full }
    }

    /// Blocks that have not come.
    pub const fn missing_count(&self) -> usize {
        self.missing_count
    }

    /// Whether every block has come.
    pub const fn is_full(&self) -> bool {
        self.missing_count == 0
    }

    /// Asserts that what is missing is counted; a piece that is said to be whole is. O(blocks).
    pub fn check_invariants(&self) {
        let came: u32 = self.words.iter().map(|word| word.count_ones()).sum();
        let came = usize::try_from(came).expect("a piece has fewer blocks than bytes");
        assert_eq!(
            came + self.missing_count,
            self.block_count,
            "blocks that came are counted"
        );
    }

    const WORD_BITS: usize = 64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_missing_block_fills_it_whatever_the_order() {
        let mut lease = Lease::new(130);
        for index in (0..130).rev() {
            assert_eq!(lease.missing_count(), index + 1);
            let full = index == 0;
            assert_eq!(lease.arrived(index), Arrived::New { full });
            assert_eq!(lease.arrived(index), Arrived::Known);
            lease.check_invariants();
        }
        assert!(lease.is_full());
    }
}
