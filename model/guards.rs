//! What the seams rely on: each guard, where it stands in the product, and by which words it is seen there.
//!
//! A seam works without a guard whose words are missing. So whoever takes one out of the product, by a mutant or by
//! mistake, hears from the model what would come of it.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// A batch compares the lane's epoch under the fence's lock.
    Epoch,
    /// A batch compares the lane's generation of signals.
    Generation,
    /// A record compares the tenure and the sequence that it expects.
    TenureAndSequence,
    /// Whoever adopts an open intent waits for its hard timeout.
    AdopterWaits,
    /// No effect begins unless the lease outlasts its hard timeout.
    Lease,
    /// An effect begins once its intent is written.
    IntentFirst,
    /// Acknowledged after the decision is committed.
    AckAfterCommit,
    /// What memory lost is swept from the outbox.
    Sweep,
    /// Crossed off only with the broker's confirm.
    Confirm,
    /// A key that came before is looked up.
    Keys,
    /// A target's open deletion is found.
    Slot,
    /// Every folded request hears of the end.
    Folded,
    /// A late effect of a deletion that was taken back finds a higher generation at its target.
    TargetGeneration,
}

struct Stands {
    guard: Guard,
    file: &'static str,
    source: &'static str,
    words: &'static str,
}

macro_rules! stands {
    ($guard:ident, $file:literal, $words:literal) => {
        Stands {
            guard: Guard::$guard,
            file: $file,
            source: include_str!(concat!("../", $file)),
            words: $words,
        }
    };
}

const ALL: &[Stands] = &[
    stands!(
        Epoch,
        "migrations/0002_protocol.sql",
        "select l.generation into v_generation from sexton.lanes l\n    where l.lane = p_lane and l.epoch = p_epoch for no key update;\n    if not found then\n        return query select 'lost'::text, 0::bigint, null"
    ),
    stands!(
        Generation,
        "migrations/0002_protocol.sql",
        "if v_generation <> p_generation then\n        return query select 'signalled'::text, v_generation, null"
    ),
    stands!(
        TenureAndSequence,
        "migrations/0002_protocol.sql",
        "select tenure = p_tenure and seq = p_seq\n"
    ),
    stands!(
        AdopterWaits,
        "migrations/0002_protocol.sql",
        "greatest(page.taken_over_at + make_interval(secs => d.effect_ms / 1000.0), now())"
    ),
    stands!(Lease, "src/stopper.rs", "self.lease.left() > hard_timeout"),
    stands!(
        IntentFirst,
        "src/engine/act.rs",
        "        };\n        let combined = !self.unwritten.is_empty();\n        self.note(Entry::Intent { step, aim, attempt });"
    ),
    stands!(
        AckAfterCommit,
        "src/intake/mod.rs",
        "match self.reception.decide(batch.take()).await {"
    ),
    stands!(
        Sweep,
        "src/relay/mod.rs",
        "relay.sweeps.then(|| tokio::spawn(relay.clone().sweep()))"
    ),
    stands!(
        Confirm,
        "src/relay/mod.rs",
        "PublishOutcome::Unroutable | PublishOutcome::Nacked | PublishOutcome::Lost => unsent.push(id)"
    ),
    stands!(
        Keys,
        "src/store/keys.rs",
        "from sexton.keys k left join sexton.requests r on r.id = k.request_id where k.digest = any ($1)\","
    ),
    stands!(
        Slot,
        "src/store/slots.rs",
        "open.retain(|target, _| !slots.views.contains_key(*target));"
    ),
    stands!(
        Folded,
        "migrations/0002_protocol.sql",
        "from sexton.joined j where j.deletion_id = i.id offset 0) j"
    ),
    stands!(
        TargetGeneration,
        "src/engine/effect.rs",
        "let generation = opened.generation + i64::from(aim == Aim::Undo);"
    ),
];

/// Which guards there are.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Guards(Vec<Guard>);

impl Guards {
    /// Those that stand in the product.
    pub(super) fn of_the_product() -> Self {
        let standing = ALL.iter().filter(|stands| stands.source.contains(stands.words));
        Guards(standing.map(|stands| stands.guard).collect())
    }

    /// Words that stand in two places are still there when the guard is not.
    pub(super) fn each_stands_once() {
        for stands in ALL {
            let times = stands.source.matches(stands.words).count();
            assert_eq!(
                times, 1,
                "{:?} in {}: {:?}",
                stands.guard, stands.file, stands.words
            );
        }
    }

    pub(super) fn all() -> impl Iterator<Item = Guard> {
        ALL.iter().map(|stands| stands.guard)
    }

    pub(super) fn without(guard: Guard) -> Self {
        Guards(Self::all().filter(|one| *one != guard).collect())
    }

    pub(super) fn has(&self, guard: Guard) -> bool {
        self.0.contains(&guard)
    }
}

/// What is missing, for whoever reads a counterexample.
impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing: Vec<String> = ALL
            .iter()
            .filter(|stands| !self.has(stands.guard))
            .map(|stands| {
                format!(
                    "{:?} (wanted in {}: {:?})",
                    stands.guard, stands.file, stands.words
                )
            })
            .collect();
        write!(f, "missing guards: {missing:?}")
    }
}
