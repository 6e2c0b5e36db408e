//! temporary
use crate::units::Block;
use seedbank_ledger::Instant;
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Pipeline {
    outstanding: Vec<Block>,
}
#[allow(missing_docs)]
impl Pipeline {
    pub fn new(_now: Instant) -> Self {
        Self {
            outstanding: vec![],
        }
    }
    pub fn set_reqq(&mut self, _: u32) {}
    pub fn clear(&mut self) {
        self.outstanding.clear();
    }
    pub fn unchoked(&mut self, _: Instant) {}
    pub fn take(&mut self, block: &Block) -> bool {
        match self.outstanding.iter().position(|b| b == block) {
            Some(i) => {
                self.outstanding.remove(i);
                true
            }
            None => false,
        }
    }
    pub fn rejected(&mut self, block: &Block) -> bool {
        self.take(block)
    }
    pub fn arrived(&mut self, block: &Block, _: Instant) {
        self.take(block);
    }
    pub fn cancelled(&mut self, block: &Block) -> bool {
        self.outstanding.contains(block)
    }
    pub fn room(&self, _: Instant) -> usize {
        64usize.saturating_sub(self.outstanding.len())
    }
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }
    pub fn limited(&mut self, _: bool) {}
    pub fn requested(&mut self, block: Block, _: Instant) {
        self.outstanding.push(block);
    }
    pub fn timeouts(&mut self, _: Instant) -> bool {
        false
    }
    pub fn is_snubbed(&self) -> bool {
        false
    }
}
