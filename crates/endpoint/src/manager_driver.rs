//! The manager's process: drives its machine, moving messages between service and executors. Decides nothing.

use crate::alarm::Alarm;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::error::Error;
use crate::executor_driver::{LAST_WORDS, is_due, timing};
use crate::exit;
use crate::home::{self, EndpointDir, Lock, ManagerAddress, Owner, Registration};
use crate::interpreter;
use crate::package;
use crate::provider::{self, Found, Provider, interface};
use crate::sandbox;
use crate::uplink::{self, News, Uplink};
use crate::watchdog::Pings;
use bursa_core::id::{BlockId, ConnId, ExecutorId, ManagerId};
use bursa_core::limits;
use bursa_core::manager::{self, Action, Event, ExitReason, Manager};
use bursa_core::wire::Message;
use bursa_fabric::{Acceptor, Context, Incoming, PublicKey};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// How a manager ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerExit {
    /// Whether it may be started again.
    pub reason: ExitReason,
    /// For people.
    pub text: String,
}

impl ManagerExit {
    /// The exit code for it ([`crate::exit`]).
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self.reason {
            ExitReason::Stopped => exit::STOPPED,
            ExitReason::Refused => exit::REFUSED,
        }
    }
}

struct Driver<F> {
    dir: EndpointDir,
    lock: Lock,
    registration: Registration,
    address: ManagerAddress,
    stop_grace_ms: u64,
    clock: Clock,
    machine: Manager,
    service: Uplink,
    executors: Acceptor,
    keys: BTreeMap<ExecutorId, PublicKey>,
    provider: Provider,
    on_ready: F,
    stops: u32,
    alarm: Alarm,
    inbox: Vec<Event>,
    actions: Vec<Action>,
    exit: Option<Result<ManagerExit, Error>>,
}

/// What woke the driver.
enum Wake {
    Service(News),
    Executor(Incoming),
    Provider(provider::News),
    Stop,
    Ping(oneshot::Sender<()>),
    Timer,
}

/// Runs the manager of endpoint `config.name` until it is told to stop or refused by the service. `on_ready` is
/// called once, when a first call would succeed. Answers `pings` from its loop.
///
/// # Errors
/// When it cannot start: the endpoint is not registered, another process runs it, no sockets.
pub async fn run_manager(config: Config, on_ready: impl FnMut(), pings: Pings) -> Result<ManagerExit, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("listen for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("listen for signals"))?;
    crate::rlimit::raise();
    let dir = home::load(&config.home, &config.name)?;
    let patience = Duration::from_millis(config.lease_ms);
    let lock = tokio::select! {
        lock = dir.acquire(patience, tell_wait) => lock?,
        _ = terminate.recv() => return Ok(stopped_before()),
        _ = interrupt.recv() => return Ok(stopped_before()),
    };
    let mut taken_over = std::pin::pin!(lock.keep(patience));
    let mut orders = Orders { terminate, interrupt, pings };
    let mut driver = Driver::new(config, dir, lock, on_ready)?;
    loop {
        driver.round();
        if let Some(exit) = driver.exit.take() {
            if let Ok(exit) = &exit {
                tracing::info!("the manager ends: {}", exit.text);
                driver.end(exit.reason).await;
            }
            return exit;
        }
        let wake = tokio::select! {
            biased;
            // It touches nothing more: its executors find the other (F5).
            error = &mut taken_over => return Err(error.into()),
            wake = driver.wait(&mut orders) => wake,
        };
        driver.take(wake);
    }
}

/// Where executors reach this process.
fn listen(config: &Config) -> Result<String, Error> {
    match &config.listen {
        Some(listen) => Ok(listen.clone()),
        None if config.blocks.is_remote() => {
            Ok(format!("{}:0", interface::address(&config.blocks.interface).map_err(Error::Interface)?))
        }
        None => Ok("127.0.0.1:0".into()),
    }
}

/// The address that executors are told, of what it listens on.
fn reached_at(config: &Config, listens: &str) -> Result<String, Error> {
    match (&config.public_listen, listens.strip_prefix("0.0.0.0:")) {
        (Some(public), _) => Ok(public.clone()),
        (None, Some(port)) if config.blocks.is_remote() => {
            Ok(format!("{}:{port}", interface::address(&config.blocks.interface).map_err(Error::Interface)?))
        }
        (None, _) => Ok(listens.to_owned()),
    }
}

/// A start that seems to hang says why, to whoever started it.
fn tell_wait(owner: Option<&Owner>, left: Duration) {
    let owner = owner.map_or_else(|| "another process".into(), Owner::to_string);
    let text = format!("waiting up to {} s for a sign of life of {owner}", left.as_secs());
    tracing::info!("{text}");
    // Nobody may read it.
    let _ = writeln!(std::io::stderr(), "bursa: {text}");
}

fn stopped_before() -> ManagerExit {
    ManagerExit { reason: ExitReason::Stopped, text: "it was told to stop before it had the endpoint".into() }
}

/// What a manager is told on its own node.
struct Orders {
    terminate: Signal,
    interrupt: Signal,
    pings: Pings,
}

impl Orders {
    /// Cancel-safe.
    async fn next(&mut self) -> Wake {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Wake::Stop,
            _ = self.interrupt.recv() => Wake::Stop,
            Some(answer) = self.pings.recv() => Wake::Ping(answer),
        }
    }
}

impl<F: FnMut()> Driver<F> {
    fn new(config: Config, dir: EndpointDir, lock: Lock, on_ready: F) -> Result<Self, Error> {
        let registration = dir.registration()?;
        let keys = dir.keys()?;
        // On disk before a socket opens (F4).
        let generation = dir.raise_generation(&lock, 0)?;
        let inner = timing(config.threshold_ms);
        let context = Context::new()?;
        let mut executors = Acceptor::bind(&context, &listen(&config)?, &keys, inner)?;
        if let Some(Err(error)) = config.bulk.map(|port| executors.listen_bulk(port)) {
            tracing::warn!("{error}");
        }
        let address = reached_at(&config, executors.local_addr())?;
        let address = ManagerAddress { address, public_key: keys.public, generation };
        let clock = Clock::new();
        let slots = if config.one_per_core && config.blocks.is_remote() {
            config.blocks.cores
        } else {
            config.workers
        };
        let scale = config.blocks.scale(slots.max(1), crate::has::to_come(&config));
        // Once, and not by many executors at once. If it cannot be, they say so.
        if let Err(error) = package::unpack(&config.home) {
            tracing::warn!("{error}");
        }
        let mut provider = Provider::new(config.clone(), dir.clone());
        let executors_found = provider.find();
        let settings = manager::Config {
            endpoint: registration.endpoint_id,
            manager: ManagerId::from_bytes(clock::random().map_err(Error::io("get random bytes"))?),
            generation,
            host: clock::host(),
            software: clock::SOFTWARE.into(),
            python: interpreter::check(&config).map(|(_, version)| version).unwrap_or_default(),
            scale,
            found: executors_found.blocks.clone(),
            hints: dir.hints(),
            heartbeat_ms: config.heartbeat_ms,
            threshold_ms: config.threshold_ms,
            adopt_ms: config.adopt_ms,
            routing: config.routing,
            allows: manager::Allows {
                functions: config.allowed_functions.clone(),
                guests: sandbox::takes_guests(&config),
                owner: registration.owner,
            },
            seed: clock::seed().map_err(Error::io("get random bytes"))?,
        };
        let mut driver = Self {
            machine: Manager::new(settings, clock.now()),
            lock,
            registration,
            address,
            stop_grace_ms: config.stop_grace_ms,
            clock,
            service: Uplink::new(context, keys, timing(config.link_threshold_ms)),
            executors,
            keys: BTreeMap::new(),
            provider,
            dir,
            on_ready,
            stops: 0,
            alarm: Alarm::new(),
            inbox: vec![Event::Tick],
            actions: Vec::new(),
            exit: None,
        };
        driver.let_in_found(executors_found);
        driver.dir.save_manager(&driver.address)?;
        Ok(driver)
    }

    /// Lets the executors of the manager before in, and tells the machine which of its hints are dead.
    fn let_in_found(&mut self, found: Found) {
        for (executor, key) in found.alive {
            self.let_in(executor, key);
        }
        let mut dead = found.dead;
        dead.extend(self.dir.hints().into_iter().filter(|id| !self.keys.contains_key(id)));
        dead.sort();
        dead.dedup();
        let gone = |executor| Event::ExecutorGone { executor, why: "its process ended".into() };
        self.inbox.extend(dead.into_iter().map(gone));
    }

    fn let_in(&mut self, executor: ExecutorId, key: PublicKey) {
        self.executors.allow(key, executor.to_string());
        self.keys.insert(executor, key);
    }

    async fn wait(&mut self, orders: &mut Orders) -> Wake {
        let deadline = self.machine.next_deadline().map(|at| self.clock.instant(at));
        tokio::select! {
            biased;
            order = orders.next() => order,
            news = self.provider.news() => Wake::Provider(news),
            news = self.service.news() => Wake::Service(news),
            incoming = self.executors.recv() => Wake::Executor(incoming),
            () = self.alarm.until(deadline) => Wake::Timer,
        }
    }

    /// What woke it, and what else is there already.
    fn take(&mut self, wake: Wake) {
        match wake {
            Wake::Service(news) => self.heard(news),
            Wake::Executor(incoming) => self.heard_executor(&incoming),
            Wake::Provider(news) => self.heard_provider(news),
            Wake::Stop => self.stop(),
            // Whoever asked may be gone.
            Wake::Ping(answer) => drop(answer.send(())),
            Wake::Timer => {}
        }
        while self.inbox.len() < limits::ROUND_EVENTS
            && let Some(incoming) = self.executors.try_recv()
        {
            self.heard_executor(&incoming);
        }
        while self.inbox.len() < limits::ROUND_EVENTS
            && let Some(news) = self.service.try_news()
        {
            self.heard(news);
        }
    }

    fn heard(&mut self, news: News) {
        self.inbox.push(match news {
            News::Up => Event::LinkUp,
            News::Down(why) => Event::LinkDown { why },
            News::Message(message) => Event::FromHub { message },
        });
    }

    fn heard_executor(&mut self, incoming: &Incoming) {
        let Ok(executor) = incoming.user.parse() else { return };
        if let Some(message) = uplink::decode(&incoming.frames) {
            self.inbox.push(Event::FromExecutor { conn: incoming.conn, executor, message });
        }
    }

    fn heard_provider(&mut self, news: provider::News) {
        use provider::News;
        let event = match news {
            News::Gone(executor, why) => {
                self.ended(&[executor]);
                Event::ExecutorGone { executor, why }
            }
            News::Ended(block, executors, why) => {
                self.ended(&executors);
                Event::BlockEnded { block, why }
            }
            News::Waiting(block, reason) => Event::BlockWaiting { block, reason },
            News::Started(block, left_ms) => Event::BlockStarted { block, left_ms },
            News::Answered(trouble) => Event::ProviderAnswered { trouble },
        };
        self.inbox.push(event);
    }

    /// These executors' processes have ended: their keys open nothing any more.
    fn ended(&mut self, executors: &[ExecutorId]) {
        // What they said before they ended comes first.
        while let Some(incoming) = self.executors.try_recv() {
            self.heard_executor(&incoming);
        }
        for executor in executors {
            if let Some(key) = self.keys.remove(executor) {
                self.executors.revoke(&key);
            }
        }
    }

    /// The first request gives running calls their time, the second does not.
    fn stop(&mut self) {
        let grace_ms = if self.stops == 0 { self.stop_grace_ms } else { 0 };
        self.stops += 1;
        self.inbox.push(Event::Stop { grace_ms });
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
            if self.inbox.is_empty() || self.exit.is_some() {
                return;
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Connect => {
                // The address may have changed: `bursa up` writes it again when the service moved.
                if let Ok(registration) = self.dir.registration() {
                    self.registration = registration;
                }
                if let Err(why) = self.service.connect(&self.registration.zmq, &self.registration.service_key)
                {
                    self.inbox.push(Event::LinkDown { why });
                }
            }
            Action::Disconnect => self.service.disconnect(),
            Action::SendHub { message } => {
                if let Err(why) = self.service.send(message) {
                    self.inbox.push(Event::LinkDown { why });
                }
            }
            Action::SendExecutor { conn, message } => self.send(conn, message),
            Action::Close { conn } => self.executors.forget(conn),
            Action::Launch { block, executors } => self.launch(block, &executors),
            Action::CancelBlock { block } => self.provider.cancel(block),
            Action::AskProvider => self.provider.ask(),
            Action::SaveHints { executors } => match self.dir.save_hints(&executors) {
                Ok(()) => self.inbox.push(Event::HintsSaved),
                // Without its directory nothing can be promised; the watchdog tries again.
                Err(error) => self.exit = Some(Err(error.into())),
            },
            Action::RaiseGeneration { above } => match self.raise(above) {
                Ok(generation) => self.inbox.push(Event::GenerationRaised { generation }),
                Err(error) => self.exit = Some(Err(error.into())),
            },
            Action::Ready => (self.on_ready)(),
            Action::Exit { reason, text } => self.exit = Some(Ok(ManagerExit { reason, text })),
            Action::Log { text } => tracing::info!("{text}"),
        }
    }

    fn send(&mut self, conn: ConnId, message: Message) {
        let sent = uplink::encode(message)
            .and_then(|frames| self.executors.send(conn, &frames).map_err(|why| why.to_string()));
        if let Err(why) = sent {
            tracing::debug!(conn = conn.0, "an executor cannot be reached: {why}");
            self.inbox.push(Event::Unreachable { conn });
        }
    }

    fn launch(&mut self, block: BlockId, executors: &[ExecutorId]) {
        match self.provider.launch(block, executors) {
            Ok(keys) => keys.into_iter().for_each(|(executor, key)| self.let_in(executor, key)),
            Err(why) => {
                tracing::error!("{why}");
                self.inbox.push(Event::BlockEnded { block, why });
            }
        }
    }

    fn raise(&mut self, above: u64) -> Result<u64, home::Error> {
        self.address.generation = self.dir.raise_generation(&self.lock, above)?;
        self.dir.save_manager(&self.address)?;
        Ok(self.address.generation)
    }

    /// Last words; executors of a manager that was stopped end with it, those of a superseded one go on (F5).
    async fn end(&mut self, reason: ExitReason) {
        tokio::time::sleep(LAST_WORDS).await;
        if reason != ExitReason::Stopped {
            return;
        }
        self.provider.end().await;
    }
}
