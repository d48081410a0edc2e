//! Stories drawn by chance, with all that can go wrong in one of them: more than can be searched to its end.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stateright::Chooser;

use super::cluster::Cluster;
use super::protocol::{Act, Protocol};

/// One act in so many goes wrong while any still can: a story has some forty, so what goes wrong is spread over all of it.
const RARELY: u32 = 8;

/// Draws what happens next.
#[derive(Clone)]
pub(super) struct Chance;

impl Chooser<Protocol> for Chance {
    type State = StdRng;

    fn new_state(&self, seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    fn choose_initial_state(&self, _: &mut StdRng, _: &[Cluster]) -> usize {
        0
    }

    fn choose_action(&self, rng: &mut StdRng, _: &Cluster, acts: &[Act]) -> usize {
        let wanted = rng.random_ratio(1, RARELY);
        let these: Vec<usize> = (0..acts.len())
            .filter(|at| acts[*at].goes_wrong() == wanted)
            .collect();
        match these.as_slice() {
            [] => rng.random_range(0..acts.len()),
            some => some[rng.random_range(0..some.len())],
        }
    }
}
