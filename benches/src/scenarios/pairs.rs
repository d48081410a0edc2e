//! Sexton and its base in turns, until there are so many pairs that say something.

use super::Run;
use crate::Fail;
use crate::report::{median, tell};
use crate::rivals::Rival;

/// Below this share of what the base does on a quiet machine, a run says nothing of the program.
const VOID_BELOW: f64 = 0.7;
/// A void pair is run again, so often at most.
const VOID_MAX: usize = 3;

/// Ours and the base's, in the order of the runs.
#[derive(Default)]
pub(super) struct Pairs {
    pub(super) ours: Vec<Run>,
    pub(super) base: Vec<Run>,
}

impl Pairs {
    /// `quiet` is what the base does a second on a quiet machine; without it no pair is void.
    pub(super) async fn run(
        runs: usize,
        base: Rival,
        quiet: Option<f64>,
        mut one: impl AsyncFnMut(Rival, usize) -> Result<Run, Fail>,
    ) -> Result<Pairs, Fail> {
        let mut pairs = Pairs::default();
        let (mut turn, mut void) = (0, 0);
        while pairs.base.len() < runs {
            let (mut ours, mut theirs) = (None, None);
            for rival in Rival::in_turn(turn, base) {
                let run = one(rival, turn).await?;
                run.tell(turn, rival.name());
                *(if rival == Rival::Sexton {
                    &mut ours
                } else {
                    &mut theirs
                }) = Some(run);
            }
            turn += 1;
            let floor = quiet.map(|quiet| quiet * VOID_BELOW);
            let limit = theirs.as_ref().map(Run::per_second);
            match (limit, floor) {
                (Some(limit), Some(floor)) if limit < floor && void < VOID_MAX => {
                    void += 1;
                    tell(&format!(
                        "  void: the bare program is below {floor:.0} sagas/s, so the machine is busy; again"
                    ));
                }
                _ => {
                    pairs.ours.extend(ours);
                    pairs.base.extend(theirs);
                }
            }
        }
        Ok(pairs)
    }

    /// Of all runs, ours and the base's.
    pub(super) fn all(&self, of: impl Fn(&Run) -> f64) -> (Vec<f64>, Vec<f64>) {
        (
            self.ours.iter().map(&of).collect(),
            self.base.iter().map(&of).collect(),
        )
    }

    pub(super) fn our_median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(&self.ours.iter().map(of).collect::<Vec<f64>>())
    }
}
