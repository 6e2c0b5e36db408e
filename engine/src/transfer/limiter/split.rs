//! How a rate is shared between the paid and the open class: one rule, by blocks and as a fluid.

use super::UploadSide;

/// The weights of the two classes while both want bytes. They sum to 100, and neither is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassShares {
    open: u64,
}

/// An amount for each class: bytes, or bytes in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByClass {
    /// The paid class's.
    pub paid: u64,
    /// The open class's.
    pub open: u64,
}

impl ClassShares {
    /// Of a percentage for the open class, held within 1 and 99: neither class is ever starved.
    pub const fn new(open_share_percent: u8) -> Self {
        let open = match open_share_percent {
            0 => 1,
            1..=99 => open_share_percent as u64,
            _ => 99,
        };
        Self { open }
    }

    /// A class's weight.
    pub const fn weight(self, side: UploadSide) -> u64 {
        match side {
            UploadSide::Paid => 100 - self.open,
            UploadSide::Open => self.open,
        }
    }

    /// What each class gets of `rate` while it wants so much: its share, and what the other leaves.
    /// This is what an [`UploadQueue`](super::UploadQueue) comes to over time. Nothing is left over
    /// while somebody wants more; the paid class's share is rounded down.
    pub fn split(self, rate: u64, wanted: ByClass) -> ByClass {
        let share = u128::from(rate) * u128::from(self.weight(UploadSide::Paid)) / 100;
        let share = u64::try_from(share).expect("a part of a rate");
        let open_wanted = wanted.open.min(rate);
        let paid = wanted.paid.min(share.max(rate - open_wanted));
        ByClass {
            paid,
            open: open_wanted.min(rate - paid),
        }
    }
}
