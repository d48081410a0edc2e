//! A batch of messages, admitted in one transaction behind the lane's fence (intake/reception.rs, store/admit.rs), with the
//! first intent of what is new or without (engine/at_once.rs). Where each belongs, `decide::place` says.

use sexton::decide::{Place, SlotView, place};
use sexton::deletion::{Action, DeletionId, Envelope, Request, read_request};
use uuid::Uuid;

use super::batch::Answer;
use super::cluster::{Carried, Cluster, Delivery, Harm, Row, Stage};
use super::guards::Guard;
use super::process::drive;
use super::words::is_unwinding;
use super::{Message, Protocol};

impl Protocol {
    pub(super) fn admit(&self, all: &mut Cluster, process: u8, answer: Answer, at_once: bool) {
        let lane = all.processes[usize::from(process)].lane;
        if all.lanes[usize::from(lane)].taken && self.guards.has(Guard::Epoch) {
            return self.begin_again(all, process);
        }
        let with = |delivery: &Delivery| *delivery == Delivery::With(process);
        let messages: Vec<usize> = (0..all.queue.len()).filter(|at| with(&all.queue[*at])).collect();
        let before = all.rows.len();
        if answer != Answer::LostBefore {
            for at in &messages {
                self.decide_where(all, *at, lane);
            }
            if at_once {
                (before..all.rows.len()).for_each(|row| all.begins_with_an_intent(row));
            }
        }
        for at in messages {
            all.queue[at] = match answer {
                Answer::Heard => Delivery::Admitted(process),
                // What was not decided, as far as anybody knows, is given back.
                _ => Delivery::Queued,
            };
        }
        match answer {
            Answer::Heard => {
                for (at, row) in all.rows.iter().enumerate().skip(before) {
                    let at = u8::try_from(at).expect("few");
                    all.processes[usize::from(process)]
                        .carried
                        .push(Carried::of(at, row));
                }
                self.go_on(all, process);
            }
            _ => all.processes[usize::from(process)].asking = true,
        }
    }

    /// `decide::place`, of what is read under the slot's lock.
    fn decide_where(&self, all: &mut Cluster, at: usize, lane: u8) {
        let Message { target, key } = self.messages[at];
        let same_key =
            |other: usize| key.is_some() && self.messages[other].key == key && all.fates[other].is_some();
        if self.guards.has(Guard::Keys)
            && let Some(known) = (0..self.messages.len()).find(|other| same_key(*other))
        {
            all.fates[at] = all.fates[known];
            return;
        }
        let open = |row: &Row| row.target == target && row.ended.is_none();
        let slot = all
            .rows
            .iter()
            .position(open)
            .filter(|_| self.guards.has(Guard::Slot));
        let view = slot.map(|row| SlotView {
            deletion: id_of(row),
            action: Action::Delete,
            fold_digest: [1; 16],
            unwinding: is_unwinding(&all.rows[row].words),
            successor: None,
        });
        let message = u8::try_from(at).expect("few");
        match place(&asked(), false, [1; 16], view.as_ref(), None) {
            Place::New | Place::Follow(_) if slot.is_none() => {
                all.fates[at] = Some(u8::try_from(all.rows.len()).expect("few"));
                let two = all.rows.iter().any(open);
                all.rows.push(Row {
                    target,
                    owner: Some(lane),
                    tenure: 1,
                    seq: 0,
                    words: Vec::new(),
                    wait: 0,
                    rests: false,
                    signal: false,
                    ended: None,
                    answers: vec![message],
                });
                all.harmed(Harm::TwoOpenForOneTarget, two);
            }
            Place::Join(_) => {
                let row = slot.expect("it was found");
                all.fates[at] = Some(u8::try_from(row).expect("few"));
                all.rows[row].answers.push(message);
            }
            // It waits as the successor, and is placed anew once the slot is free: here, by its redelivery.
            Place::Follow(_) => {}
            other => panic!("the model's requests are not placed {other:?}"),
        }
    }
}

impl Cluster {
    /// Its first record is born with it, as its process decides while nothing of it is committed.
    fn begins_with_an_intent(&mut self, row: usize) {
        let mut first = Carried::of(u8::try_from(row).expect("few"), &self.rows[row]);
        drive(&mut first, self);
        if let Stage::Writes { intent: Some(_), .. } = first.stage {
            self.rows[row].words = first.words;
            self.rows[row].seq = 1;
        }
    }
}

/// A request like all of the model's: a delete without a word more.
fn asked() -> Request {
    let body = br#"{"target": {"type": "model.thing", "id": "1"}, "tenant": "t"}"#;
    read_request(body, &Envelope::default()).expect("well formed")
}

fn id_of(row: usize) -> DeletionId {
    DeletionId(Uuid::from_u128(row as u128 + 1))
}
