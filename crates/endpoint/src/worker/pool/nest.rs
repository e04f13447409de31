//! Nests: where workers hatch. One is the endpoint's own environment, whose zygote forks workers for everybody. Each
//! other is a container of one user, with one worker at a time: when it died, the next one of that user and container
//! hatches there; when it was retired, the container ends with it. No container is ever seen by two users.

use super::Pool;
use super::start::wait_after;
use crate::config::Program;
use crate::worker::zygote::Zygote;
use bursa_core::container::Container;
use bursa_core::id::{ContainerId, UserId};
use std::collections::{BTreeSet, VecDeque};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The nest of the endpoint's own environment.
pub(super) const HOST: u32 = 0;
/// A container whose worker died is kept for the next for so long.
const SPARE: Duration = Duration::from_secs(60);
/// A container that is told to end is killed after this.
const END: Duration = Duration::from_secs(5);
/// A zygote that has closed its socket has this long to end by itself, so that its own exit is seen.
const CLOSED: Duration = Duration::from_secs(1);
/// Longest wait between two tries of a container: its calls are to fail soon.
const LAST: Duration = Duration::from_secs(1);
/// Containers that did not start, as many as are remembered.
const TROUBLES: usize = 1_024;

/// Where a zygote stands.
#[derive(Debug)]
pub(super) enum State {
    /// Not needed yet.
    Idle,
    /// Running; until it has said hello, it must do so before the deadline.
    Running(Zygote, Option<Instant>),
    /// Told to end, and killed then.
    Leaving(Zygote, Instant),
    /// It died or did not start: the next try is then.
    BackOff(Instant),
}

impl State {
    pub(super) const fn zygote(&mut self) -> Option<&mut Zygote> {
        match self {
            Self::Running(zygote, _) | Self::Leaving(zygote, _) => Some(zygote),
            Self::Idle | Self::BackOff(_) => None,
        }
    }

    /// The process that was started.
    pub(super) fn pid(&self) -> Option<i32> {
        match self {
            Self::Running(zygote, _) | Self::Leaving(zygote, _) => Some(zygote.pid),
            Self::Idle | Self::BackOff(_) => None,
        }
    }

    pub(super) fn into_zygote(self) -> Option<Zygote> {
        match self {
            Self::Running(zygote, _) | Self::Leaving(zygote, _) => Some(zygote),
            Self::Idle | Self::BackOff(_) => None,
        }
    }
}

/// What a nest is.
#[derive(Debug)]
pub(super) enum What {
    /// The endpoint's own environment.
    Host,
    /// A container for one user.
    Container { user: UserId, container: Arc<Container> },
}

/// One nest.
#[derive(Debug)]
pub(super) struct Nest {
    pub(super) what: What,
    pub(super) state: State,
    /// Starts in a row that gave no ready worker.
    pub(super) failures: u32,
    /// Workers that the zygote was not asked for yet.
    pub(super) pending: VecDeque<u32>,
    /// Workers that the zygote was asked for and has not reported.
    pub(super) forking: BTreeSet<u32>,
    /// It has no worker, and ends then.
    spare: Option<Instant>,
}

impl Nest {
    pub(super) const fn new(what: What, state: State) -> Self {
        Self { what, state, failures: 0, pending: VecDeque::new(), forking: BTreeSet::new(), spare: None }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let state = match &self.state {
            State::Running(_, deadline) => *deadline,
            State::Leaving(_, until) => Some(*until),
            State::BackOff(until) if !self.pending.is_empty() => Some(*until),
            State::Idle | State::BackOff(_) => None,
        };
        [state, self.spare].into_iter().flatten().min()
    }

    /// Its zygote has closed its socket: nothing comes of it.
    pub(super) fn closed(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Running(zygote, _) => State::Leaving(zygote, Instant::now() + CLOSED),
            other => other,
        };
    }

    /// Lets its zygote end, and with it all in there.
    pub(super) fn end(&mut self) {
        self.spare = None;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Running(mut zygote, _) => {
                if zygote.is_closed() || !zygote.is_up {
                    zygote.kill();
                }
                zygote.close();
                self.state = State::Leaving(zygote, Instant::now() + END);
            }
            other => self.state = other,
        }
    }
}

/// How often a container did not start.
#[derive(Debug)]
pub(super) struct Trouble {
    failures: u32,
    until: Instant,
}

impl Pool {
    /// The nest for a worker of this user in this container: one whose worker died, or a new one.
    pub(super) fn nest_for(&mut self, user: UserId, container: Arc<Container>) -> u32 {
        let is_it = |nest: &Nest| match &nest.what {
            What::Host => false,
            What::Container { user: whose, container: other } => {
                *whose == user && other.container == container.container
            }
        };
        let spare = self.nests.iter_mut().find(|(_, nest)| nest.spare.is_some() && is_it(nest));
        if let Some((id, nest)) = spare {
            nest.spare = None;
            return *id;
        }
        // Others make room: there are no more containers than workers.
        self.nests.values_mut().filter(|nest| nest.spare.is_some()).for_each(Nest::end);
        self.made = self.made.checked_add(1).unwrap_or(HOST + 1);
        let trouble = self.troubles.get(&container.container);
        let state = trouble.map_or(State::Idle, |trouble| State::BackOff(trouble.until));
        self.nests.insert(self.made, Nest::new(What::Container { user, container }, state));
        self.made
    }

    pub(super) fn start_container(
        &mut self,
        id: u32,
        container: &Container,
    ) -> Result<(Zygote, Duration), String> {
        let work = self.nest_dir(id);
        let (package, enclosure) = (&self.setup.package, self.setup.enclosure.as_ref());
        let runtimes = &self.setup.runtimes;
        let start = runtimes.start(container, (id, &work), package, enclosure)?;
        self.clean_up(start.program);
        let zygote = Zygote::start(&start.launch, id, &self.poller).map_err(|error| {
            format!("{} cannot be started: {error}", start.launch.argv[0].to_string_lossy())
        })?;
        Ok((zygote, self.setup.runtimes.start_timeout()))
    }

    fn nest_dir(&self, id: u32) -> std::path::PathBuf {
        self.setup.work.join(format!("nest-{id}"))
    }

    /// Once for each program that keeps stopped containers: removes those of executors that are gone.
    fn clean_up(&mut self, program: Program) {
        if self.cleaners.contains_key(program.as_str()) {
            return;
        }
        let Some(argv) = self.setup.runtimes.cleaner(program) else { return };
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => {
                self.cleaners.insert(program.as_str(), i32::try_from(child.id()).unwrap_or_default());
            }
            Err(error) => tracing::warn!(%error, "old containers cannot be removed"),
        }
    }

    /// A worker of this nest is ready.
    pub(super) fn nest_works(&mut self, id: u32) {
        let Some(nest) = self.nests.get_mut(&id) else { return };
        nest.failures = 0;
        if let What::Container { container, .. } = &nest.what {
            self.troubles.remove(&container.container);
        }
    }

    /// A worker of this nest is gone.
    pub(super) fn left_nest(&mut self, id: u32, is_retired: bool) {
        let Some(nest) = self.nests.get_mut(&id).filter(|_| id != HOST) else { return };
        match &nest.state {
            State::Running(zygote, _) if !is_retired && zygote.is_up && !zygote.is_closed() => {
                nest.spare = Some(Instant::now() + SPARE);
            }
            State::Running(..) => nest.end(),
            State::Leaving(..) => {}
            State::Idle | State::BackOff(_) => self.remove_nest(id),
        }
    }

    fn remove_nest(&mut self, id: u32) {
        self.nests.remove(&id);
        let dir = self.nest_dir(id);
        if dir.exists() {
            crate::scratch::remove(dir);
        }
    }

    /// The program that started a container has ended.
    pub(super) fn container_gone(&mut self, id: u32, was_up: bool, how: &str) {
        let Some(What::Container { container, .. }) = self.nests.get(&id).map(|nest| &nest.what) else {
            return;
        };
        let Container { kind, location, .. } = &**container;
        let why = if was_up {
            format!("the container {location} ({kind}) ended {how}")
        } else {
            format!("the container {location} ({kind}) did not start {how}")
        };
        if !was_up && self.workers.values().any(|process| process.nest == id) {
            tracing::error!("{why}");
            self.container_failed(id);
        }
        self.drop_asked(id, &why);
        self.end_enclosed(id);
        let pending =
            self.nests.get_mut(&id).map(|nest| std::mem::take(&mut nest.pending)).unwrap_or_default();
        for worker in pending {
            self.drop_worker(worker, why.clone());
        }
        self.remove_nest(id);
    }

    /// The next of its kind waits longer.
    pub(super) fn container_failed(&mut self, id: u32) {
        let Some(What::Container { container, .. }) = self.nests.get(&id).map(|nest| &nest.what) else {
            return;
        };
        let key: ContainerId = container.container;
        if self.troubles.len() >= TROUBLES {
            self.troubles.clear();
        }
        let trouble = self.troubles.entry(key).or_insert(Trouble { failures: 0, until: Instant::now() });
        trouble.until = Instant::now() + wait_after(trouble.failures).min(LAST);
        trouble.failures += 1;
    }

    /// Acts on nests that took too long.
    pub(super) fn tick_nests(&mut self, now: Instant) {
        let due = |nest: &Nest| nest.next_deadline().is_some_and(|at| at <= now);
        let due: Vec<u32> = self.nests.iter().filter(|(_, nest)| due(nest)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(nest) = self.nests.get_mut(&id) else { continue };
            if nest.spare.is_some_and(|at| at <= now) {
                nest.end();
                continue;
            }
            match &mut nest.state {
                State::Running(zygote, deadline) if deadline.is_some() => {
                    let seconds = if id == HOST { 60 } else { self.setup.runtimes.start_timeout().as_secs() };
                    zygote.said.add(format!("\nit did not start within {seconds} s\n").as_bytes());
                    zygote.kill();
                    // Killed once more, if it does not end.
                    *deadline = Some(now + END);
                }
                State::Leaving(zygote, until) => {
                    zygote.kill();
                    *until = now + END;
                }
                State::BackOff(_) => self.advance(id),
                State::Running(..) | State::Idle => {}
            }
        }
    }
}
