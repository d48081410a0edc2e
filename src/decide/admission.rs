//! Admission: may this request become a deletion, and where does it belong?
//!
//! Two questions, both pure. [`admit`] needs only the plans; [`place`] needs what the tables say of the key and the
//! slot, read under lock by the store.

use time::OffsetDateTime;

use crate::deletion::{Action, DeletionId, PlanHash, Rejection, RejectionReason, Request};
use crate::plan::Plan;

/// What is known of a target type.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    Current {
        hash: &'a PlanHash,
        plan: &'a Plan,
    },
    /// Plans of this type were known once; none is in force.
    Retired,
    Never,
}

/// A well-formed request against the rules that need no table.
pub fn admit<'a>(
    request: &Request,
    known: Known<'a>,
    now: OffsetDateTime,
) -> Result<Admitted<'a>, Box<Rejection>> {
    let turned_away =
        |reason, field: &str, detail: String| Err(Box::new(Rejection::of(request, reason, field, detail)));
    let (hash, plan) = match known {
        Known::Current { hash, plan } => (hash, plan),
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
    match request.action {
        Action::Delete | Action::Cancel => {}
        Action::Restore => {
            let detail =
                "\"restore\"; this type's plan has no restore window, wanted \"delete\" or \"cancel\"".into();
            return turned_away(RejectionReason::NotAllowed, "/action", detail);
        }
        Action::Purge => {
            let detail =
                "\"purge\" is accepted from Sexton's own scheduler only; wanted \"delete\" or \"cancel\""
                    .into();
            return turned_away(RejectionReason::NotAllowed, "/action", detail);
        }
    }
    if request.action == Action::Delete
        && let Err((field, detail)) = plan.check_params(&request.params)
    {
        return turned_away(RejectionReason::WrongShape, &field, detail);
    }
    let from_plan = plan.deadline.as_ref().map(|deadline| now + deadline.after);
    let deadline = match (request.deadline, from_plan) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Ok(Admitted { hash, deadline })
}

#[derive(Clone, Debug)]
pub struct Admitted<'a> {
    pub hash: &'a PlanHash,
    pub deadline: Option<OffsetDateTime>,
}

/// What the tables say of a slot, under lock.
#[derive(Clone, Debug)]
pub struct SlotView {
    pub deletion: DeletionId,
    pub fold_digest: [u8; 16],
    /// Cancelled or refused, and on its way back.
    pub unwinding: bool,
    /// The one request that waits for the slot: its deletion-to-be and what it would fold with.
    pub successor: Option<(DeletionId, [u8; 16])>,
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

/// `slot` is the open deletion of the same target, if there is one.
pub fn place(action: Action, fold_digest: [u8; 16], slot: Option<&SlotView>) -> Place {
    match (action, slot) {
        (Action::Cancel, Some(slot)) => Place::Signal(slot.deletion),
        (Action::Cancel, None) => Place::Away(RejectionReason::NothingToDo),
        (_, None) => Place::New,
        (_, Some(slot)) if slot.fold_digest == fold_digest && !slot.unwinding => Place::Join(slot.deletion),
        (_, Some(slot)) => match slot.successor {
            None => Place::Follow(slot.deletion),
            Some((waiting, digest)) if digest == fold_digest => Place::Join(waiting),
            Some(_) => Place::Away(RejectionReason::SlotTaken),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(unwinding: bool, successor: Option<u8>) -> SlotView {
        let id = |n: u8| DeletionId(uuid::Uuid::from_bytes([n; 16]));
        SlotView {
            deletion: id(1),
            fold_digest: [1; 16],
            unwinding,
            successor: successor.map(|n| (id(2), [n; 16])),
        }
    }

    #[test]
    fn invariant_09_equal_requests_fold_and_differing_ones_queue_behind() {
        let id = |n: u8| DeletionId(uuid::Uuid::from_bytes([n; 16]));
        let table = [
            (None, Place::New),
            (Some(slot(false, None)), Place::Join(id(1))),
            (Some(slot(true, None)), Place::Follow(id(1))),
            (Some(slot(true, Some(1))), Place::Join(id(2))),
            (Some(slot(true, Some(9))), Place::Away(RejectionReason::SlotTaken)),
        ];
        for (view, wanted) in table {
            assert_eq!(place(Action::Delete, [1; 16], view.as_ref()), wanted, "{view:?}");
        }
        assert_eq!(
            place(Action::Delete, [5; 16], Some(&slot(false, None))),
            Place::Follow(id(1))
        );
        assert_eq!(
            place(Action::Cancel, [5; 16], Some(&slot(false, None))),
            Place::Signal(id(1))
        );
        assert_eq!(
            place(Action::Cancel, [5; 16], None),
            Place::Away(RejectionReason::NothingToDo)
        );
    }
}
