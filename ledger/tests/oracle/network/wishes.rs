//! What is tried next: drawn without regard to what would be accepted, but often near an edge.

use crate::book::{ClaimTry, LockBook, OrderTry, Party, SUPPLY_MAX, Try, Wish};
use crate::draw::NOBODIES;
use crate::network::{PARTIES, STRANGER, Schedule, narrow};

impl Schedule {
    /// Some moment: a little later, about when a lock ends, or back.
    pub(super) fn moment(&mut self) -> u64 {
        let grace = narrow(self.bounds.grace);
        let ends: Vec<u64> = self
            .book
            .locks
            .values()
            .filter(|lock| !lock.is_closed)
            .map(|lock| narrow(lock.expires_at))
            .collect();
        match self.draw.below(20) {
            0..12 => self.now.saturating_add(self.draw.below(60)),
            12 => self.now.saturating_sub(self.draw.below(5_000)),
            13 if self.draw.chance(30) => 0,
            13 if self.draw.chance(50) => self.now.saturating_add(self.draw.below(20_000)),
            14..17 if !ends.is_empty() => {
                (self.draw.of(&ends) - 1).saturating_add(self.draw.below(3))
            }
            17..20 if !ends.is_empty() => {
                (self.draw.of(&ends).saturating_add(grace - 1)).saturating_add(self.draw.below(3))
            }
            _ => self.now,
        }
    }

    fn party(&mut self) -> Party {
        u8::try_from(self.draw.below(PARTIES.into())).unwrap()
    }

    /// A receiver, now and then one that nobody can be.
    fn receiver(&mut self, nobody_percent: u64) -> Party {
        match self.draw.chance(nobody_percent) {
            true => self.draw.of(&NOBODIES.collect::<Vec<_>>()),
            false => self.party(),
        }
    }

    /// A lock that is used up and open still, if there is one: its pair may open another.
    fn used_up(&mut self) -> Option<u64> {
        let is_used_up = |lock: &LockBook| !lock.is_closed && lock.claimed == lock.amount;
        let locks = self.book.locks.iter().filter(|(_, lock)| is_used_up(lock));
        let numbers: Vec<u64> = locks.map(|(number, _)| *number).collect();
        (!numbers.is_empty()).then(|| self.draw.of(&numbers))
    }

    fn lock_number(&mut self) -> u64 {
        let numbers: Vec<u64> = self.book.locks.keys().copied().collect();
        let open: Vec<u64> = numbers
            .iter()
            .copied()
            .filter(|number| !self.book.locks[number].is_closed)
            .collect();
        match self.draw.below(10) {
            0..7 if !open.is_empty() => self.draw.of(&open),
            7..9 if !numbers.is_empty() => self.draw.of(&numbers),
            _ => self.draw.below(self.book.next + 2),
        }
    }

    /// Some amount, of which `about` is an interesting one.
    fn amount(&mut self, about: u128) -> u64 {
        let about = u64::try_from(about).unwrap_or(u64::MAX);
        match self.draw.below(20) {
            0..11 => self.draw.below(150),
            11..13 => about,
            13 => about.saturating_add(1),
            14 => about.saturating_sub(1),
            15 => 0,
            16 => self.draw.below(about.max(1)),
            17 => self
                .draw
                .of(&[u64::MAX, u64::MAX >> 1, (u64::MAX >> 1) + 1, 1 << 62]),
            18 => narrow(self.bounds.lock_max),
            _ => 1,
        }
    }

    pub(super) fn attempt(&mut self, group: &[Try]) -> Try {
        if self.draw.chance(8) && !self.tried.is_empty() {
            // Word for word what was tried before.
            let tried = self.tried.clone();
            return self.draw.of(&tried);
        }
        if self.draw.chance(2) {
            return Try::Expiry(self.lock_number());
        }
        if self.draw.chance(30) {
            return Try::Claim(self.claim_try());
        }
        Try::Order(self.order_try(group))
    }

    fn order_try(&mut self, group: &[Try]) -> OrderTry {
        let (account, wish) = self.wish();
        let account = if self.draw.chance(5) {
            STRANGER
        } else {
            account
        };
        let in_group = group.iter().filter(|attempt| match attempt {
            Try::Order(order) => order.account == account,
            Try::Claim(_) | Try::Expiry(_) => false,
        });
        let ahead = u64::try_from(in_group.count()).unwrap();
        let next = self.book.account(account).nonce + 1 + ahead;
        let nonce = match self.draw.below(24) {
            0 => next + 1,
            1 => next - 1,
            2 => self.draw.below(next),
            3 => self.draw.of(&[0, u64::MAX]),
            _ => next,
        };
        let time = self.now.max(self.book.time);
        OrderTry {
            account,
            nonce,
            valid_until: match self.draw.below(20) {
                0 => time - 1,
                1 => time,
                2 => 0,
                _ => u64::MAX,
            },
            wish,
            memo: u8::try_from(self.draw.below(3)).unwrap(),
            is_other_network: self.draw.chance(2),
            is_forged: self.draw.chance(3),
        }
    }

    fn wish(&mut self) -> (Party, Wish) {
        let me = match self.party() {
            // Mostly somebody who has something.
            party if self.book.account(party).available == 0 => self.party(),
            party => party,
        };
        let has = self.book.account(me).available;
        let to = self.receiver(5);
        let ttl = match self.draw.below(10) {
            0 => 0,
            1 => 4_001,
            2 => u32::MAX,
            3 => 4_000,
            _ => u32::try_from(self.draw.below(4_000)).unwrap(),
        };
        match self.draw.below(40) {
            0..8 => (me, Wish::Transfer(to, self.amount(has))),
            8..18 => {
                let pairs: Vec<_> = self
                    .book
                    .locks
                    .values()
                    .map(|lock| (lock.payer, lock.payee))
                    .collect();
                let used_up = self.used_up().filter(|_| self.draw.chance(20));
                let used_up = used_up.and_then(|number| self.book.locks.get(&number));
                let (by, payee) = match used_up {
                    Some(lock) => (lock.payer, lock.payee),
                    None if self.draw.chance(30) && !pairs.is_empty() => self.draw.of(&pairs),
                    None => (me, to),
                };
                (by, Wish::OpenLock(payee, self.amount(has), ttl))
            }
            18..25 => {
                let used_up = self.used_up().filter(|_| self.draw.chance(30));
                let number = used_up.unwrap_or_else(|| self.lock_number());
                let lock = self.book.locks.get(&number).cloned();
                let room = lock
                    .as_ref()
                    .map_or(0, |lock| self.bounds.lock_max - lock.amount);
                let payer = lock.map_or(me, |lock| lock.payer);
                let by = if self.draw.chance(85) { payer } else { me };
                let amount = match self.draw.below(3) {
                    0 => self.amount(room),
                    _ => self.draw.below(20),
                };
                (by, Wish::TopUp(number, amount, ttl))
            }
            25..30 => {
                let number = self.lock_number();
                let payee = self.book.locks.get(&number).map_or(me, |lock| lock.payee);
                let by = if self.draw.chance(75) { payee } else { me };
                (by, Wish::CloseLock(number))
            }
            30 if self.draw.chance(60) => self.hand_over(me),
            30..38 => {
                let issuer = self.draw.of(&[0, 1]);
                let by = if self.draw.chance(90) { issuer } else { me };
                let room = SUPPLY_MAX - (self.book.granted - self.book.burned);
                let amount = match self.draw.below(3) {
                    0 => self.amount(room),
                    _ => self.draw.below(5_000),
                };
                (by, Wish::Grant(to, amount))
            }
            _ => {
                let issuer = self.draw.of(&[0, 1]);
                let by = if self.draw.chance(80) { issuer } else { me };
                let has = self.book.account(by).available;
                (by, Wish::Burn(self.amount(has)))
            }
        }
    }

    /// Somebody's first, or the same again of an account that was handed over, whatever it has.
    fn hand_over(&mut self, me: Party) -> (Party, Wish) {
        let accounts = self.book.accounts.iter();
        let left: Vec<(Party, Party)> = accounts
            .filter_map(|(party, account)| Some((*party, account.heir?)))
            .collect();
        if !left.is_empty() && self.draw.chance(40) {
            let (by, to) = self.draw.of(&left);
            return (by, Wish::RotateKey(to));
        }
        (me, Wish::RotateKey(self.receiver(20)))
    }

    fn claim_try(&mut self) -> ClaimTry {
        let number = self.lock_number();
        let lock = self.book.locks.get(&number).cloned();
        let (payer, payee) = match &lock {
            Some(lock) if self.draw.chance(94) => (lock.payer, lock.payee),
            _ => (self.party(), self.party()),
        };
        let (amount, claimed) = lock.map_or((0, 0), |lock| (lock.amount, lock.claimed));
        let amount = match self.draw.below(10) {
            0..5 => narrow(claimed) + self.draw.below(40),
            5 | 6 => narrow(amount),
            _ => self.amount(amount),
        };
        let channel = match self.draw.below(30) {
            0 => None,
            1 => Some((payer, payee, number + 1)),
            2 => Some((payee, payer, number)),
            _ => Some((payer, payee, number)),
        };
        ClaimTry {
            lock: number,
            payee,
            is_other_network: self.draw.chance(2),
            is_forged: self.draw.chance(3),
            channel,
            receipt_signer: if self.draw.chance(96) { payer } else { payee },
            is_receipt_bad: self.draw.chance(2),
            bytes: self.draw.of(&[0, 1, 7, 7, 9, u64::MAX, 1 << 40]),
            amount,
        }
    }
}
