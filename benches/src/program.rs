//! A program that is measured: started, watched and ended. One that ends by itself fails its run.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::Fail;
use crate::costs::{cpu_of_family, peak_kib};
use crate::messages::Outcomes;
use crate::place::Place;

/// A program that has not begun by now does not begin.
const BEGIN_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Program {
    name: String,
    child: Child,
    pub(crate) pid: u32,
    /// What it still may say, if anybody listens.
    out: Option<Lines<BufReader<ChildStdout>>>,
}

impl Program {
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self, Fail> {
        let child = command.stdout(Stdio::null()).spawn()?;
        Program::of(name, child, None)
    }

    /// This program started again, as `word` and what follows says; returns once it says `begun`.
    pub(crate) async fn again(place: &Place, words: &[String]) -> Result<(Self, Instant), Fail> {
        let name = words.first().ok_or("a program without a word")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(words).stdout(Stdio::piped());
        place.furnish(&mut command);
        let mut child = command.spawn()?;
        let mut out = BufReader::new(child.stdout.take().ok_or("a program without a voice")?).lines();
        match out.next_line().await?.as_deref() {
            Some("begun") => Ok((Program::of(name, child, Some(out))?, Instant::now())),
            other => Err(format!("{name} said {other:?}; wanted \"begun\"").into()),
        }
    }

    fn of(name: &str, child: Child, out: Option<Lines<BufReader<ChildStdout>>>) -> Result<Self, Fail> {
        let pid = child.id().ok_or("the program ended at once")?;
        let name = name.to_owned();
        Ok(Program {
            name,
            child,
            pid,
            out,
        })
    }

    /// Waits for something that takes seconds at most, unless the program ends first.
    pub(crate) async fn meanwhile<T>(
        &mut self,
        wait: impl Future<Output = Result<T, Fail>>,
    ) -> Result<T, Fail> {
        self.during(async { tokio::time::timeout(BEGIN_MAX, wait).await? })
            .await
    }

    /// Waits for something that has a bound of its own, unless the program ends first.
    pub(crate) async fn during<T>(&mut self, wait: impl Future<Output = Result<T, Fail>>) -> Result<T, Fail> {
        tokio::select! {
            done = wait => done,
            ended = self.child.wait() => Err(format!("{} ended by itself: {}", self.name, ended?).into()),
        }
    }

    /// Returns only if it ends, which is an error.
    pub(crate) async fn die(&mut self) -> Result<(), Fail> {
        self.during(std::future::pending()).await
    }

    pub(crate) async fn count(&mut self, outcomes: &mut Outcomes, requests: usize) -> Result<Instant, Fail> {
        self.during(outcomes.count(requests)).await
    }

    pub(crate) fn cpu(&self) -> Duration {
        cpu_of_family(self.pid)
    }

    pub(crate) fn peak_kib(&self) -> u64 {
        peak_kib(self.pid)
    }

    /// Politely: what it still has to cross off belongs to the run.
    pub(crate) async fn stop(self) -> Result<(), Fail> {
        self.signal(Signal::TERM)?;
        self.ended().await
    }

    /// What it still would do is none of the run.
    pub(crate) async fn kill(mut self) -> Result<(), Fail> {
        self.signal(Signal::KILL)?;
        self.child.wait().await?;
        Ok(())
    }

    /// One that ends by itself once it has done what it is for.
    pub(crate) async fn ended(mut self) -> Result<(), Fail> {
        let ended: ExitStatus = self.child.wait().await?;
        if ended.success() {
            return Ok(());
        }
        Err(format!("{} did not end well: {ended}", self.name).into())
    }

    /// Politely, with the next line that it says.
    pub(crate) async fn stopped_saying(self) -> Result<String, Fail> {
        self.signal(Signal::TERM)?;
        self.ended_saying().await
    }

    /// One that ends by itself, with the next line that it says.
    pub(crate) async fn ended_saying(mut self) -> Result<String, Fail> {
        let said = match self.out.as_mut() {
            Some(out) => out.next_line().await?,
            None => None,
        };
        let name = self.name.clone();
        self.ended().await?;
        said.ok_or_else(|| format!("{name} ended without a word").into())
    }

    fn signal(&self, signal: Signal) -> Result<(), Fail> {
        let pid = Pid::from_raw(i32::try_from(self.pid)?).ok_or("a process without a number")?;
        Ok(kill_process(pid, signal)?)
    }
}
