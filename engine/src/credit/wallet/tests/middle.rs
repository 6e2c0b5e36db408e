//! A man in the middle: drops, delays, replays, reorders and rewrites what goes between wallets and
//! their settlement node, field by field. He knows every question and answer that ever passed, and
//! no key but his own.

use std::sync::Arc;

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::settlement::envelope::Sealer;
use seedbank_ledger::settlement::{AccountAnswer, AnswerBody, OperationAnswer, Statement};
use seedbank_ledger::statement::{LockStatus, StatementLine};
use seedbank_ledger::{Identity, MicroCredits, NetworkId, Sequence};

use crate::credit::settlement::{Envelope, SettlementAnswer, SettlementRequest};
use crate::rng::Rng;

/// What he remembers, at most, of either kind.
const KEPT_MAX: usize = 200;

/// Ways in which an answer is rewritten; each is taken in every long schedule.
pub(super) const REWRITES: usize = 14;

/// Somebody who carries questions and answers.
pub(super) struct Middle {
    sealer: Sealer,
    questions: Vec<SettlementRequest>,
    answers: Vec<Envelope>,
    /// How often an answer was rewritten in each way, and really was another one.
    pub(super) rewritten: [u32; REWRITES],
    /// How often an answer to another question was handed over.
    pub(super) replayed: u32,
}

impl Middle {
    pub(super) fn new(network_id: NetworkId) -> Self {
        let own = Arc::new(Identity::from_secret([66; 32]));
        Self {
            sealer: Sealer::new(own, network_id),
            questions: Vec::new(),
            answers: Vec::new(),
            rewritten: [0; REWRITES],
            replayed: 0,
        }
    }

    /// The questions that reach the settlement node for one that was asked; the last is the one
    /// whose answer goes back.
    pub(super) fn questions(
        &mut self,
        dice: &mut Rng,
        asked: &SettlementRequest,
    ) -> Vec<SettlementRequest> {
        keep(&mut self.questions, asked.clone());
        let old = self.questions[dice.index(self.questions.len())].clone();
        match dice.below(20) {
            0 => vec![old],
            1 => vec![old, asked.clone()],
            // The same order under a number of his own, before its owner's question comes.
            2 | 3 => vec![renumbered(asked), asked.clone()],
            4 => vec![asked.clone(), asked.clone()],
            5 => flipped(dice, asked).into_iter().collect(),
            _ => vec![asked.clone()],
        }
    }

    /// What comes back in place of an answer.
    pub(super) fn answers(&mut self, dice: &mut Rng, given: Envelope) -> Vec<Envelope> {
        keep(&mut self.answers, given.clone());
        let old = self.answers[dice.index(self.answers.len())].clone();
        match dice.below(20) {
            0 => Vec::new(),
            1 | 2 => self.replay(old, &given),
            3 => vec![given.clone(), given],
            4..=9 => vec![self.rewrite(dice, &given)],
            _ => vec![given],
        }
    }

    fn replay(&mut self, old: Envelope, given: &Envelope) -> Vec<Envelope> {
        self.replayed += u32::from(old != *given);
        vec![old]
    }

    /// The answer with something else in one field, under its old seal or one of his own.
    fn rewrite(&mut self, dice: &mut Rng, given: &Envelope) -> Envelope {
        let said = SettlementAnswer::from_bytes(&given.answer).expect("it was given");
        let mut answer = said.clone();
        let mut way = 0;
        while answer == said {
            way = dice.index(REWRITES);
            self.change(dice, way, &mut answer);
        }
        self.rewritten[way] += 1;
        let mut envelope = Envelope {
            answer: answer.to_bytes(),
            ..given.clone()
        };
        if dice.chance(1, 3) {
            let question = &self.questions[dice.index(self.questions.len())];
            envelope = self.sealer.seal(question.hash(), 0, &answer);
        }
        envelope
    }

    fn change(&self, dice: &mut Rng, way: usize, answer: &mut SettlementAnswer) {
        let number = dice.below(1_000);
        match way {
            0 => answer.time = answer.time.plus_secs(1 + number * 1_000),
            1 => answer.time = answer.time.minus_secs(1 + number),
            2 => change_account(&mut answer.body, |account| {
                account.status.nonce += 1 + number;
            }),
            3 => change_account(&mut answer.body, |account| account.status.nonce = 0),
            4 => change_account(&mut answer.body, |account| {
                account.status.available = MicroCredits::new(number);
                account.status.reserved = MicroCredits::ZERO;
            }),
            5 => change_account(&mut answer.body, |account| {
                account.head.body.size = account.head.body.size.saturating_sub(1 + number % 5);
            }),
            6 => change_lines(&mut answer.body, |lines| drop(lines.pop())),
            7 => change_lines(&mut answer.body, |lines| relink(dice, lines)),
            8 => change_lines(&mut answer.body, |lines| {
                if let Some(line) = lines.last_mut() {
                    line.amount = MicroCredits::new(number);
                    line.refusal = Some(Refusal::Expired);
                }
            }),
            9 => change_lock(&mut answer.body, |lock| {
                lock.claimed = lock.lock.body.amount;
            }),
            10 => change_lock(&mut answer.body, |lock| lock.closed = !lock.closed),
            11 => change_operation(&mut answer.body, |told| {
                told.refusal = match told.refusal {
                    None => Some(Refusal::NoStanding),
                    Some(_) => None,
                };
            }),
            12 => change_operation(&mut answer.body, |told| {
                told.line = None;
                told.sequence = told.sequence.map(|at| Sequence::new(at.get() / 2 + 1));
                let orders = self.questions.iter().rev();
                told.used_by = orders
                    .filter_map(|question| match question {
                        SettlementRequest::Submit { order, .. } => Some(*order),
                        SettlementRequest::Claim { .. } | SettlementRequest::Read(_) => None,
                    })
                    .nth(dice.index(3));
            }),
            _ => {
                answer.body = match dice.below(3) {
                    0 => AnswerBody::Lock(None),
                    1 => AnswerBody::Refused(Refusal::BadSignature),
                    _ => AnswerBody::Operation(Box::new(OperationAnswer {
                        refusal: None,
                        used_by: None,
                        sequence: None,
                        line: None,
                    })),
                }
            }
        }
    }
}

fn keep<T>(kept: &mut Vec<T>, new: T) {
    if kept.len() == KEPT_MAX {
        kept.remove(0);
    }
    kept.push(new);
}

fn renumbered(asked: &SettlementRequest) -> SettlementRequest {
    let random = [0x66; 16];
    match asked.clone() {
        SettlementRequest::Submit { order, .. } => SettlementRequest::Submit { random, order },
        SettlementRequest::Claim { claim, .. } => SettlementRequest::Claim { random, claim },
        read @ SettlementRequest::Read(_) => read,
    }
}

/// The question with a bit of it changed, if it is one then.
fn flipped(dice: &mut Rng, asked: &SettlementRequest) -> Option<SettlementRequest> {
    let mut bytes = asked.to_bytes();
    let at = dice.index(bytes.len());
    bytes[at] ^= 1;
    SettlementRequest::from_bytes(&bytes).ok()
}

fn change_account(body: &mut AnswerBody, change: impl FnOnce(&mut AccountAnswer)) {
    match body {
        AnswerBody::Account(account) | AnswerBody::Statement(Statement { account, .. }) => {
            change(account);
        }
        AnswerBody::Refused(_) | AnswerBody::Operation(_) | AnswerBody::Lock(_) => {}
    }
}

fn change_lines(body: &mut AnswerBody, change: impl FnOnce(&mut Vec<StatementLine>)) {
    match body {
        AnswerBody::Statement(statement) => change(&mut statement.lines),
        AnswerBody::Operation(told) => {
            let mut lines: Vec<StatementLine> = told.line.take().into_iter().collect();
            change(&mut lines);
            told.line = lines.pop();
        }
        AnswerBody::Refused(_) | AnswerBody::Account(_) | AnswerBody::Lock(_) => {}
    }
}

fn change_lock(body: &mut AnswerBody, change: impl FnOnce(&mut LockStatus)) {
    match body {
        AnswerBody::Lock(Some(lock)) => change(lock),
        other => change_lines(other, |lines| {
            if let Some(lock) = lines.last_mut().and_then(|line| line.lock.as_mut()) {
                change(lock);
            }
        }),
    }
}

fn change_operation(body: &mut AnswerBody, change: impl FnOnce(&mut OperationAnswer)) {
    if let AnswerBody::Operation(told) = body {
        change(told);
    }
}

/// Leaves out a line and lets the next one follow the one before.
fn relink(dice: &mut Rng, lines: &mut Vec<StatementLine>) {
    if lines.is_empty() {
        return;
    }
    let at = dice.index(lines.len());
    if lines.len() == 1 {
        let one = &mut lines[0];
        one.previous = one.previous.map_or(Some(Sequence::new(1)), |_| None);
        return;
    }
    let left_out = lines.remove(at);
    if let Some(next) = lines.get_mut(at) {
        next.previous = left_out.previous;
    }
}
