//! What happens to a process: others take over from it, somebody cancels what it has, time passes.

use super::Protocol;
use super::cluster::{Cluster, Life, Stage, TIMEOUT};
use super::guards::Guard;
use super::process::renew;

impl Protocol {
    /// sexton.take_over, sexton.adopt_page: the epoch is raised, then what the lane held is handed back.
    pub(super) fn take_over(&self, all: &mut Cluster, lane: u8) {
        all.lanes[usize::from(lane)].taken = true;
        for row in all.rows.iter_mut().filter(|row| row.owner == Some(lane)) {
            row.owner = None;
            let open = row.has_open_intent();
            row.wait = if open && self.guards.has(Guard::AdopterWaits) {
                TIMEOUT
            } else {
                0
            };
        }
    }

    /// sexton.signal: under the fence's lock, the row; and the lane's generation is raised.
    pub(super) fn cancel(&self, all: &mut Cluster, row: u8) {
        all.luck.cancels -= 1;
        let row = &mut all.rows[usize::from(row)];
        row.signal = true;
        row.rests = false;
        if let Some(lane) = row.owner {
            all.lanes[usize::from(lane)].generation += 1;
        }
    }

    /// A heartbeat for whoever is well; less time for everybody else.
    pub(super) fn tick(&self, all: &mut Cluster) {
        for at in 0..all.processes.len() {
            let process = u8::try_from(at).expect("few");
            let one = &all.processes[at];
            let taken = all.lanes[usize::from(one.lane)].taken;
            match one.life {
                Life::Well if taken => self.begin_again(all, process),
                Life::Well => {
                    renew(all, process);
                    for carried in &mut all.processes[at].carried {
                        if let Stage::Acts(_, left) = &mut carried.stage {
                            *left = left.saturating_sub(1);
                        }
                    }
                }
                Life::Stalled => {
                    let lane = usize::from(one.lane);
                    all.processes[at].lease = all.processes[at].lease.saturating_sub(1);
                    all.lanes[lane].lease = all.lanes[lane].lease.saturating_sub(1);
                }
            }
        }
        let living: Vec<u8> = all.processes.iter().map(|one| one.lane).collect();
        for (at, lane) in all.lanes.iter_mut().enumerate() {
            if !living.iter().any(|one| usize::from(*one) == at) {
                lane.lease = lane.lease.saturating_sub(1);
            }
        }
        for row in &mut all.rows {
            row.wait = row.wait.saturating_sub(1);
        }
        // An effect that was never sent, or was cut off by its target's own timeout, will not take place any more.
        for orphan in &mut all.orphans {
            orphan.left -= 1;
        }
        all.orphans.retain(|one| one.left > 0);
    }
}
