//! Admission: may this request become a deletion, and where does it belong?
//!
//! Two questions, both pure. [`admit`] needs only the plans; [`place`] needs what the tables say of the key and the
//! slot, read under lock by the store.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::deletion::{Action, DeletionId, Rejection, RejectionReason, Request};
use crate::plan::Plan;

/// What is known of a target type.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    Current(&'a Plan),
    /// Plans of this type were known once; none is in force.
    Retired,
    Never,
}

/// A well-formed request against the rules that need no table.
pub fn admit(request: &Request, known: Known<'_>, now: OffsetDateTime) -> Result<Admitted, Box<Rejection>> {
    let turned_away =
        |reason, field: &str, detail: String| Err(Box::new(Rejection::of(request, reason, field, detail)));
    let plan = match known {
        Known::Current(plan) => Some(plan),
        // What was deleted under a plan that is no longer in force can be restored, and must be erased.
        Known::Retired if matches!(request.action, Action::Restore | Action::Purge) => None,
        Known::Retired => {
            let detail = format!(
                "no plan is in force for {:?}; wanted a type with a plan",
                request.target.kind.as_str()
            );
            return turned_away(RejectionReason::NoPlan, "/target/type", detail);
        }
        Known::Never => {
            let detail = format!(
                "{:?} is not a known type; wanted one that a plan names",
                request.target.kind.as_str()
            );
            return turned_away(RejectionReason::UnknownType, "/target/type", detail);
        }
    };
    if request.action == Action::Purge && request.window.is_none() {
        let detail = "\"purge\" is accepted from Sexton's own scheduler only; wanted \"delete\", \"restore\" or \"cancel\"";
        return turned_away(RejectionReason::NotAllowed, "/action", detail.into());
    }
    // A late redelivery of one without would delete what was restored meanwhile, or restore what was deleted again.
    let wants_key = match request.action {
        Action::Delete => plan.is_some_and(|plan| plan.restorable.is_some()),
        Action::Restore | Action::Purge => true,
        Action::Cancel => false,
    };
    if wants_key && request.key.is_none() {
        let detail =
            "missing, and so is a message_id; wanted one, since what this type deletes can be restored";
        return turned_away(RejectionReason::KeyMissing, "/key", detail.into());
    }
    if matches!(request.action, Action::Restore | Action::Purge) && !request.params.is_empty() {
        let detail = "params; wanted none, since those of the deletion stand";
        return turned_away(RejectionReason::WrongShape, "/params", detail.into());
    }
    if let (Action::Delete, Some(plan)) = (request.action, plan)
        && let Err((field, detail)) = plan.check_params(&request.params)
    {
        return turned_away(RejectionReason::WrongShape, &field, detail);
    }
    let from_plan = plan
        .and_then(|plan| plan.deadline.as_ref())
        .map(|deadline| now + deadline.after);
    let deadline = match (request.deadline, from_plan) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Ok(Admitted {
        restorable: plan.is_some_and(|plan| plan.restorable.is_some()),
        deadline,
    })
}

#[derive(Clone, Debug)]
pub struct Admitted {
    /// What the plan in force deletes can be restored.
    pub restorable: bool,
    pub deadline: Option<OffsetDateTime>,
}

/// What the tables say of a slot, under lock.
#[derive(Clone, Debug)]
pub struct SlotView {
    pub deletion: DeletionId,
    pub action: Action,
    pub fold_digest: [u8; 16],
    /// Cancelled or refused, and on its way back.
    pub unwinding: bool,
    /// The one request that waits for the slot: its deletion-to-be and what it would fold with.
    pub successor: Option<(DeletionId, [u8; 16])>,
}

/// A soft deletion of the target that is neither taken back nor ended yet.
#[derive(Clone, Copy, Debug)]
pub struct WindowView {
    pub deletion: DeletionId,
    /// It can no longer be taken back.
    pub over: bool,
    pub ticket: Uuid,
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A deletion of its own.
    New,
    /// Folded into an open deletion, or into the one that waits.
    Join(DeletionId),
    /// Waits as the one successor.
    Follow(DeletionId),
    /// A cancel: a signal to this deletion.
    Signal(DeletionId),
    Away(RejectionReason),
}

/// `slot` is the open deletion of the same target, `window` its soft deletion, if there are such. Whoever has the slot has
/// the window too: of a restore and a purge that race, the second finds the first one there.
pub fn place(
    request: &Request,
    restorable: bool,
    fold_digest: [u8; 16],
    slot: Option<&SlotView>,
    window: Option<&WindowView>,
) -> Place {
    if let Some(meant) = request.meant {
        let there = match (request.action, slot) {
            (Action::Restore, Some(slot)) if slot.action != Action::Delete => {
                window.map(|window| window.deletion)
            }
            (_, Some(slot)) => Some(slot.deletion),
            (_, None) => window.map(|window| window.deletion),
        };
        if there != Some(meant) {
            return Place::Away(RejectionReason::NothingToDo);
        }
    }
    match (request.action, slot) {
        (Action::Cancel, Some(slot)) => Place::Signal(slot.deletion),
        (Action::Cancel, None) => Place::Away(RejectionReason::NothingToDo),
        (Action::Restore, None) => match window {
            None => Place::Away(RejectionReason::NothingToDo),
            Some(window) if window.over => Place::Away(RejectionReason::WindowOver),
            Some(_) => Place::New,
        },
        (Action::Restore, Some(slot)) if slot.action == Action::Purge => {
            Place::Away(RejectionReason::WindowOver)
        }
        // What is being deleted now will leave nothing that could be taken back.
        (Action::Restore, Some(slot)) if slot.action == Action::Delete && !restorable => {
            Place::Away(RejectionReason::NothingToDo)
        }
        (Action::Purge, None) => match (window, request.window) {
            (Some(window), Some(named)) if window.deletion == named.deletion => {
                if window.over && window.ticket == named.ticket {
                    Place::New
                } else {
                    Place::Away(RejectionReason::NotAllowed)
                }
            }
            _ => Place::Away(RejectionReason::NothingToDo),
        },
        // Whatever has the target may change what there is to erase; the scheduler asks again if there still is.
        (Action::Purge, Some(_)) => Place::Away(RejectionReason::NothingToDo),
        (Action::Delete, None) => Place::New,
        (Action::Delete | Action::Restore, Some(slot))
            if slot.fold_digest == fold_digest && !slot.unwinding =>
        {
            Place::Join(slot.deletion)
        }
        (Action::Delete | Action::Restore, Some(slot)) => match slot.successor {
            None => Place::Follow(slot.deletion),
            Some((waiting, digest)) if digest == fold_digest => Place::Join(waiting),
            Some(_) => Place::Away(RejectionReason::SlotTaken),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deletion::{Envelope, WindowTicket, read_request};

    fn id(n: u8) -> DeletionId {
        DeletionId(Uuid::from_bytes([n; 16]))
    }

    fn asked(action: Action) -> Request {
        let body = serde_json::json!({"action": action, "target": {"type": "a.b", "id": "1"}, "tenant": "t", "key": "k"});
        read_request(body.to_string().as_bytes(), &Envelope::default()).expect("well formed")
    }

    fn slot(action: Action, unwinding: bool, successor: Option<u8>) -> SlotView {
        SlotView {
            deletion: id(1),
            action,
            fold_digest: [1; 16],
            unwinding,
            successor: successor.map(|n| (id(2), [n; 16])),
        }
    }

    fn placed(action: Action, fold: u8, slot: Option<SlotView>, window: Option<WindowView>) -> Place {
        place(&asked(action), true, [fold; 16], slot.as_ref(), window.as_ref())
    }

    #[test]
    fn invariant_09_equal_requests_fold_and_differing_ones_queue_behind() {
        let open = |unwinding, successor| Some(slot(Action::Delete, unwinding, successor));
        for (slot, wanted) in [
            (None, Place::New),
            (open(false, None), Place::Join(id(1))),
            (open(true, None), Place::Follow(id(1))),
            (open(true, Some(1)), Place::Join(id(2))),
            (open(true, Some(9)), Place::Away(RejectionReason::SlotTaken)),
        ] {
            let told = format!("{slot:?}");
            assert_eq!(placed(Action::Delete, 1, slot, None), wanted, "{told}");
        }
        assert_eq!(
            placed(Action::Delete, 5, open(false, None), None),
            Place::Follow(id(1))
        );
        assert_eq!(
            placed(Action::Cancel, 5, open(false, None), None),
            Place::Signal(id(1))
        );
        assert_eq!(
            placed(Action::Cancel, 5, None, None),
            Place::Away(RejectionReason::NothingToDo)
        );
    }

    #[test]
    fn invariant_09_a_restore_needs_a_window_that_is_open_and_that_no_purge_has() {
        let window = |over| {
            Some(WindowView {
                deletion: id(9),
                over,
                ticket: Uuid::from_bytes([7; 16]),
            })
        };
        let restore = |slot, window| placed(Action::Restore, 1, slot, window);
        assert_eq!(restore(None, window(false)), Place::New);
        assert_eq!(
            restore(None, window(true)),
            Place::Away(RejectionReason::WindowOver)
        );
        assert_eq!(restore(None, None), Place::Away(RejectionReason::NothingToDo));
        let purging = Some(slot(Action::Purge, false, None));
        assert_eq!(
            restore(purging, window(true)),
            Place::Away(RejectionReason::WindowOver)
        );
        // A deletion that is still under way is waited for: it is that one which shall be taken back.
        let deleting = SlotView {
            fold_digest: [2; 16],
            ..slot(Action::Delete, false, None)
        };
        assert_eq!(restore(Some(deleting.clone()), None), Place::Follow(id(1)));
        assert_eq!(
            place(&asked(Action::Restore), false, [1; 16], Some(&deleting), None),
            Place::Away(RejectionReason::NothingToDo),
            "this type cannot be restored"
        );
        let restoring = Some(slot(Action::Restore, false, None));
        assert_eq!(restore(restoring, window(false)), Place::Join(id(1)));
    }

    #[test]
    fn invariant_09_a_purge_needs_its_own_window_over_and_the_ticket_and_the_target_to_itself() {
        let purge = |named: u8, ticket: u8, slot: Option<SlotView>, over: bool| {
            let mut request = asked(Action::Purge);
            request.window = Some(WindowTicket {
                deletion: id(named),
                ticket: Uuid::from_bytes([ticket; 16]),
            });
            let window = WindowView {
                deletion: id(9),
                over,
                ticket: Uuid::from_bytes([7; 16]),
            };
            place(&request, true, [1; 16], slot.as_ref(), Some(&window))
        };
        assert_eq!(purge(9, 7, None, true), Place::New);
        assert_eq!(
            purge(9, 7, None, false),
            Place::Away(RejectionReason::NotAllowed),
            "too early"
        );
        assert_eq!(
            purge(9, 8, None, true),
            Place::Away(RejectionReason::NotAllowed),
            "somebody else's"
        );
        assert_eq!(
            purge(3, 7, None, true),
            Place::Away(RejectionReason::NothingToDo),
            "another deletion"
        );
        let restoring = Some(slot(Action::Restore, false, None));
        assert_eq!(
            purge(9, 7, restoring, true),
            Place::Away(RejectionReason::NothingToDo)
        );
    }

    #[test]
    fn invariant_09_a_restore_or_a_cancel_that_means_one_deletion_never_meets_another() {
        let meaning = |action, meant: u8, slot: Option<SlotView>, window: Option<WindowView>| {
            let mut request = asked(action);
            request.meant = Some(id(meant));
            place(&request, true, [9; 16], slot.as_ref(), window.as_ref())
        };
        let away = Place::Away(RejectionReason::NothingToDo);
        let open = Some(slot(Action::Delete, false, None));
        let soft = Some(WindowView {
            deletion: id(5),
            over: false,
            ticket: Uuid::nil(),
        });
        assert_eq!(
            meaning(Action::Cancel, 1, open.clone(), None),
            Place::Signal(id(1))
        );
        assert_eq!(meaning(Action::Cancel, 3, open.clone(), None), away);
        assert_eq!(
            meaning(Action::Restore, 1, open.clone(), None),
            Place::Follow(id(1))
        );
        assert_eq!(meaning(Action::Restore, 3, open.clone(), None), away);
        assert_eq!(
            meaning(Action::Restore, 5, open, soft),
            away,
            "it is being deleted again, by another one"
        );
        assert_eq!(meaning(Action::Restore, 5, None, soft), Place::New);
        assert_eq!(meaning(Action::Restore, 6, None, soft), away);
        let restoring = Some(SlotView {
            fold_digest: [9; 16],
            ..slot(Action::Restore, false, None)
        });
        assert_eq!(
            meaning(Action::Restore, 5, restoring.clone(), soft),
            Place::Join(id(1))
        );
        assert_eq!(meaning(Action::Restore, 6, restoring, soft), away);
    }

    #[test]
    fn what_can_be_restored_is_asked_for_with_a_key() {
        let text = "target = \"a.b\"\non = \"db\"\nsql = \"update t set x = 1 where id = :id and generation < :generation\"\n\
                    [restore]\nwindow = \"1d\"\nsql = \"update t set x = 0 where id = :id and generation < :generation\"\n\
                    [purge]\nsql = \"delete from t where id = :id and generation < :generation\"";
        let plan = crate::plan::parse_plan(text, "plan").unwrap_or_else(|errors| panic!("{errors}"));
        let now = OffsetDateTime::UNIX_EPOCH;
        let told =
            |request: &Request, known| admit(request, known, now).map(drop).map_err(|away| away.reason);
        for (action, known) in [
            (Action::Delete, Known::Current(&plan)),
            (Action::Restore, Known::Current(&plan)),
            (Action::Restore, Known::Retired),
        ] {
            let keyed = asked(action);
            let keyless = Request {
                key: None,
                ..keyed.clone()
            };
            assert_eq!(told(&keyed, known), Ok(()), "{action:?}");
            assert_eq!(
                told(&keyless, known),
                Err(RejectionReason::KeyMissing),
                "{action:?}"
            );
        }
        let purge = asked(Action::Purge);
        assert_eq!(
            told(&purge, Known::Current(&plan)),
            Err(RejectionReason::NotAllowed)
        );
    }
}
