//! What a worker needs for a million deletions that wait for tomorrow, while it carries others out.

use sexton::services::Services;

use super::number;
use super::run::Run;
use crate::Fail;
use crate::fill::Fill;
use crate::place::Stage;
use crate::report::{Report, Wanted};
use crate::rivals::{Feed, Rival, measure_at};

const WAITING: usize = 1_000_000;
const FRESH: usize = 20_000;

pub(super) async fn measure(services: &Services, report: &mut Report) -> Result<(), Fail> {
    let (waiting, fresh) = (
        number("BENCH_WAITING", WAITING)?,
        number("BENCH_REQUESTS", FRESH)?,
    );
    let place = Rival::Sexton.settle(services, "waiting", &Stage::noop()).await?;
    let mut fill = Fill::begin(&place, Rival::Sexton).await?;
    fill.waiting(waiting).await?;
    fill.end().await?;
    let run = measure_at(services, &place, Rival::Sexton, Feed::Before, fresh).await?;
    run.tell(0, Rival::Sexton.name());
    place.clear(services).await?;
    report.begin_table("sexton", "");
    let peak = run.peak_mib();
    report.compare("deletions that wait", 0, &[waiting as f64], &[]);
    report.compare("sagas/s beside them", 0, &[Run::per_second(&run)], &[]);
    report.compare("peak RSS, MiB", 0, &[peak], &[]);
    report.bar(
        &format!("peak RSS in MiB, {waiting} waiting deletions"),
        peak,
        Wanted::AtMost { bar: 96.0, aim: 48.0 },
    );
    Ok(())
}
