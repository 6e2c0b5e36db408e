//! Who gets how much of the lines: max–min fair rates, exactly, or nearly in one pass.
//!
//! Every flow crosses an uplink and a downlink, and wants at most so much (hose model: the middle
//! of the network is never full). Amounts are whole units; what does not divide stays unused.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that wants to cross two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineFlow {
    /// The lines it crosses, by their places.
    pub(super) lines: [u32; 2],
    /// Most that it takes.
    pub(super) most: u64,
}

/// What max–min fair sharing works in; it says nothing from one use to the next.
#[derive(Debug, Default)]
pub(super) struct SharingScratch {
    lines: Vec<LineState>,
    /// Flows of every line, one line after the other.
    members: Vec<u32>,
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    by_most: Vec<u32>,
    is_fixed: Vec<bool>,
}

#[derive(Clone, Copy, Debug, Default)]
struct LineState {
    left: u64,
    /// Flows that have no rate yet.
    open: u32,
    first: u32,
    end: u32,
}

impl LineState {
    /// What each flow without a rate would get.
    fn level(&self) -> u64 {
        self.left / u64::from(self.open.max(1))
    }
}

impl SharingScratch {
    /// The max–min fair amounts of `flows` over lines of these capacities, by progressive filling
    /// (Bertsekas and Gallager, Data Networks, 6.5.2): no flow can have more without one that has
    /// no more than it having less. O((flows + lines) log lines).
    pub(super) fn max_min(&mut self, capacity: &[u64], flows: &[LineFlow], amounts: &mut Vec<u64>) {
        self.prepare(capacity, flows);
        amounts.clear();
        amounts.resize(flows.len(), 0);
        let mut next_most = 0;
        loop {
            let line = self.heap.peek().map(|Reverse(top)| *top);
            let small = self.by_most[next_most..].first().copied();
            let level = line.map_or(u64::MAX, |(level, _)| level);
            match small {
                // Wants no more than anybody's fair share: it has it.
                Some(flow) if flows[flow as usize].most <= level => {
                    next_most += 1;
                    if !self.is_fixed[flow as usize] {
                        let amount = flows[flow as usize].most;
                        self.fix(flows, flow, amount, amounts);
                    }
                    continue;
                }
                _ => {}
            }
            let Some((level, line)) = line else {
                return;
            };
            self.heap.pop();
            let state = self.lines[line as usize];
            if state.open == 0 {
                continue;
            }
            if state.level() != level {
                self.heap.push(Reverse((state.level(), line)));
                continue;
            }
            for place in state.first..state.end {
                let flow = self.members[place as usize];
                if !self.is_fixed[flow as usize] {
                    self.fix(flows, flow, level, amounts);
                }
            }
        }
    }

    fn prepare(&mut self, capacity: &[u64], flows: &[LineFlow]) {
        self.lines.clear();
        self.lines.extend(capacity.iter().map(|left| LineState {
            left: *left,
            ..LineState::default()
        }));
        for line in flows.iter().flat_map(|flow| flow.lines) {
            self.lines[line as usize].open += 1;
        }
        let mut first = 0;
        for line in &mut self.lines {
            (line.first, line.end) = (first, first);
            first += line.open;
        }
        self.members.clear();
        self.members.resize(flows.len() * 2, 0);
        for (flow, it) in (0..).zip(flows) {
            for line in it.lines {
                let line = &mut self.lines[line as usize];
                self.members[line.end as usize] = flow;
                line.end += 1;
            }
        }
        self.is_fixed.clear();
        self.is_fixed.resize(flows.len(), false);
        self.by_most.clear();
        self.by_most
            .extend((0..).zip(flows).map(|(flow, _): (u32, _)| flow));
        self.by_most
            .sort_unstable_by_key(|flow| (flows[*flow as usize].most, *flow));
        self.heap.clear();
        let open = (0..).zip(&self.lines).filter(|(_, line)| line.open > 0);
        self.heap
            .extend(open.map(|(place, line)| Reverse((line.level(), place))));
    }

    fn fix(&mut self, flows: &[LineFlow], flow: u32, amount: u64, amounts: &mut [u64]) {
        amounts[flow as usize] = amount;
        self.is_fixed[flow as usize] = true;
        for line in flows[flow as usize].lines {
            let line = &mut self.lines[line as usize];
            line.left = line
                .left
                .checked_sub(amount)
                .expect("nobody is given more than there is");
            line.open -= 1;
        }
    }
}

/// A part of `amount`: what one of many gets where all together get `num` of `den`. Rounded down.
pub(super) fn scaled(amount: u64, num: u64, den: u64) -> u64 {
    if num >= den {
        return amount;
    }
    let part = u128::from(amount) * u128::from(num) / u128::from(den.max(1));
    u64::try_from(part).expect("a part of it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use seedbank_engine::rng::Rng;

    fn random(rng: &mut Rng) -> (Vec<u64>, Vec<LineFlow>) {
        let ends = 1 + rng.index(12);
        let capacity: Vec<u64> = (0..2 * ends).map(|_| rng.below(1_000_000)).collect();
        let end = |rng: &mut Rng| u32::try_from(rng.index(ends)).unwrap();
        let flows = (0..rng.index(60)).map(|_| LineFlow {
            lines: [end(rng), u32::try_from(ends).unwrap() + end(rng)],
            most: if rng.chance(1, 3) {
                rng.below(200_000)
            } else {
                u64::MAX
            },
        });
        let flows = flows.collect();
        (capacity, flows)
    }

    /// Bertsekas and Gallager: rates are max–min fair exactly if each flow has all it wants, or a
    /// line that is full and on which nobody has more.
    #[test]
    fn every_flow_has_all_it_wants_or_a_full_line_on_which_nobody_has_more() {
        let mut rng = Rng::new(5);
        let mut scratch = SharingScratch::default();
        let mut amounts = Vec::new();
        for _ in 0..3_000 {
            let (capacity, flows) = random(&mut rng);
            scratch.max_min(&capacity, &flows, &mut amounts);
            let on = |line: u32| {
                let both = flows.iter().zip(&amounts);
                both.filter(move |(flow, _)| flow.lines.contains(&line))
            };
            for (line, capacity) in (0..).zip(&capacity) {
                let used: u64 = on(line).map(|(_, amount)| amount).sum();
                assert!(used <= *capacity, "{used} of {capacity}");
            }
            for (flow, amount) in flows.iter().zip(&amounts) {
                let is_bound = flow.lines.into_iter().any(|line| {
                    let used: u64 = on(line).map(|(_, amount)| amount).sum();
                    // Whole units: less than one for each flow stays.
                    let full = capacity[line as usize] - used < on(line).count() as u64;
                    let most = on(line).map(|(_, amount)| *amount).max();
                    full && most.is_some_and(|most| most <= amount + on(line).count() as u64)
                });
                assert!(*amount == flow.most || is_bound, "{flow:?} {amount}");
            }
        }
    }
}
