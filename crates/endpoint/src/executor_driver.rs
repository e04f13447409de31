//! The executor's process: drives its machine, moving messages, frames and signals. Decides nothing about tasks.

use crate::alarm::Alarm;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::error::Error;
use crate::home::{self, EndpointDir, Sandboxed};
use crate::nodes::Nodes;
use crate::package;
use crate::runtime::Runtimes;
use crate::sandbox::Enclosure;
use crate::seal::Seals;
use crate::uplink::{News, Uplink};
use crate::worker::{Pool, PoolSetup, Shares};
use bursa_core::executor::{self, Action, Event, Executor};
use bursa_core::id::ExecutorId;
use bursa_core::limits;
use bursa_core::resources::Resources;
use bursa_core::time::Mono;
use bursa_fabric::{Context, KeyPair, Timing};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// libzmq's thread gets this long to send the last words: its sockets do not linger.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(50);

struct Driver {
    dir: EndpointDir,
    clock: Clock,
    machine: Executor,
    link: Uplink,
    pool: Pool,
    seals: Seals,
    alarm: Alarm,
    inbox: Vec<Event>,
    actions: Vec<Action>,
    exit: Option<String>,
}

/// What woke the driver.
enum Wake {
    Link(News),
    Pool,
    Children,
    Stop,
    Timer,
}

/// Runs executor `executor` until its machine ends it; gives its reason, for people.
///
/// # Errors
/// When it cannot start: no key, no directory, no sockets.
pub async fn run_executor(config: Config, executor: ExecutorId) -> Result<String, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("listen for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("listen for signals"))?;
    let mut children = signal(SignalKind::child()).map_err(Error::io("listen for signals"))?;
    let subreaper = nix::sys::prctl::set_child_subreaper(true).map_err(Into::into);
    subreaper.map_err(Error::io("become a child subreaper"))?;
    crate::rlimit::raise();
    let mut driver = Driver::new(&config, executor)?;
    driver.inbox.push(Event::Tick);
    loop {
        driver.round();
        if let Some(text) = driver.exit.take() {
            tracing::info!("the executor ends: {text}");
            tokio::time::sleep(LAST_WORDS).await;
            driver.pool.shutdown().await;
            return Ok(text);
        }
        let wake = driver.wait(&mut children, &mut terminate, &mut interrupt).await;
        driver.take(wake);
    }
}

impl Driver {
    fn new(config: &Config, executor: ExecutorId) -> Result<Self, Error> {
        let dir = home::load(&config.home, &config.name)?;
        dir.name_executor(executor, std::process::id())?;
        // After its name: a manager that finds none takes the key away.
        let keys = KeyPair::load(&dir.executor_key(executor))
            .inspect_err(|_| dir.remove_executor_process(executor))
            .map_err(home::Error::from)?;
        let package = package::unpack(&config.home)?;
        let enclosure = Enclosure::of(config).map_err(Error::Sandbox)?;
        let found = match &enclosure {
            Ok(enclosure) => {
                enclosure.tell_missing();
                "functions run in a sandbox".to_owned()
            }
            Err(why) => {
                tracing::warn!("functions run without a sandbox, with all rights of this user: {why}");
                format!("functions run without a sandbox, with all rights of the endpoint's user: {why}")
            }
        };
        dir.save_sandboxed(&Sandboxed { ok: enclosure.is_ok(), found, host: clock::host() })?;
        let enclosure = enclosure.ok();
        let (python, work) = (config.python.clone(), dir.work_dir(executor));
        let runtimes = Runtimes::look(config, executor);
        let has = crate::has::of_this_node(config);
        let nodes = Nodes::of_this_executor(config, has.cores);
        let has = Resources { nodes: nodes.count(), ..has };
        let shares = Shares::of(config, nodes);
        let setup = PoolSetup { python, package, work, enclosure, runtimes, shares };
        let clock = Clock::new();
        let settings = executor::Config {
            executor,
            host: clock::host(),
            software: clock::SOFTWARE.into(),
            workers: config.workers,
            has,
            accelerated: !config.accelerators.is_empty(),
            idle_ms: config.idle_ms,
            min_warm: config.min_warm,
            prefetch: config.prefetch,
            orphan_start_ms: config.orphan_start_ms,
            orphan_ms: config.orphan_ms,
            seed: clock::seed().map_err(Error::io("get random bytes"))?,
        };
        let seals = Seals::of(&dir);
        let context = Context::new()?;
        Ok(Self {
            dir,
            machine: Executor::new(settings, clock.now()),
            clock,
            link: Uplink::new(context, keys, timing(config.threshold_ms)),
            pool: Pool::new(setup).map_err(Error::io("watch workers"))?,
            seals,
            alarm: Alarm::new(),
            inbox: Vec::new(),
            actions: Vec::new(),
            exit: None,
        })
    }

    async fn wait(&mut self, children: &mut Signal, terminate: &mut Signal, interrupt: &mut Signal) -> Wake {
        let machine = self.machine.next_deadline().map(|at| self.clock.instant(at));
        let deadline = [machine, self.pool.next_deadline()].into_iter().flatten().min();
        tokio::select! {
            biased;
            _ = terminate.recv() => Wake::Stop,
            _ = interrupt.recv() => Wake::Stop,
            _ = children.recv() => Wake::Children,
            news = self.link.news() => Wake::Link(news),
            () = self.pool.news() => Wake::Pool,
            () = self.alarm.until(deadline) => Wake::Timer,
        }
    }

    /// What woke it, and what else is there already.
    fn take(&mut self, wake: Wake) {
        match wake {
            Wake::Link(news) => self.heard(news),
            Wake::Children => self.pool.reap(),
            Wake::Stop => self.inbox.push(Event::Stop),
            Wake::Pool | Wake::Timer => {}
        }
        self.pool.tick();
        let before = self.inbox.len();
        self.pool.pump(&mut self.inbox, limits::ROUND_EVENTS);
        self.inbox.iter_mut().skip(before).for_each(|event| self.seals.heard(event));
        while self.inbox.len() < limits::ROUND_EVENTS
            && let Some(news) = self.link.try_news()
        {
            self.heard(news);
        }
    }

    fn heard(&mut self, news: News) {
        self.inbox.push(match news {
            News::Up => Event::LinkUp,
            News::Down(why) => Event::LinkDown { why },
            News::Message(message) => Event::FromManager { message },
        });
    }

    /// Hands all events to the machine and performs what it asks for, until that gives no further events.
    fn round(&mut self) {
        loop {
            let now = self.clock.now();
            let mut out = std::mem::take(&mut self.actions);
            for event in std::mem::take(&mut self.inbox) {
                self.machine.handle(now, event, &mut out);
            }
            if is_due(self.machine.next_deadline(), now.mono) {
                self.machine.handle(now, Event::Tick, &mut out);
            }
            self.machine.flush(now, &mut out);
            for action in out.drain(..) {
                self.perform(action);
            }
            self.actions = out;
            self.pool.flush();
            if self.inbox.is_empty() || self.exit.is_some() {
                return;
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Connect => {
                if let Err(why) = self.connect() {
                    self.inbox.push(Event::LinkDown { why });
                }
            }
            Action::Disconnect => self.link.disconnect(),
            Action::Send { message } => {
                if let Err(why) = self.link.send(message) {
                    self.inbox.push(Event::LinkDown { why });
                }
            }
            Action::Spawn { worker, user, container, asks, share, nodes } => {
                self.pool.equip(worker, &asks, &share, &nodes);
                self.pool.spawn(worker, user, container);
            }
            Action::Load { worker, hash, body } => self.pool.load(worker, hash, self.seals.body(body)),
            Action::Run { worker, task, attempt, hash, args, secrets, flush } => {
                let args = self.seals.args(worker, task, attempt, args);
                self.pool.run(worker, (task, attempt), hash, args, secrets, flush);
            }
            Action::Withhold { worker, calls } => self.pool.withhold(worker, calls),
            Action::CountBegun { worker } => {
                if let Some(begun) = self.pool.begun(worker) {
                    self.inbox.push(Event::WorkerBegun { worker, begun });
                }
            }
            Action::Signal { worker, signal } => self.pool.signal(worker, signal),
            Action::Retire { worker } => self.pool.retire(worker),
            Action::Exit { text } => self.exit = Some(text),
            Action::Log { text } => tracing::info!("{text}"),
        }
    }

    /// Where the manager is now: another one may have taken over (F5).
    fn connect(&mut self) -> Result<(), String> {
        let manager = self.dir.manager().map_err(|error| error.to_string())?;
        let manager = manager.ok_or("no manager has written its address yet")?;
        self.link.connect(&manager.address, &manager.public_key)
    }
}

/// Whether a machine's deadline has come.
pub(crate) fn is_due(deadline: Option<Mono>, now: Mono) -> bool {
    deadline.is_some_and(|at| at <= now)
}

/// The heartbeats of a connection.
pub(crate) fn timing(threshold_ms: u64) -> Timing {
    let ms = |value| u32::try_from(value).unwrap_or(u32::MAX);
    Timing { threshold_ms: ms(threshold_ms) }
}
