//! Starting and stopping in order: home, store, epoch, ports, `client.toml`, ready; then the driver until the end.

use crate::amqp::foreign::{self, Foreign, Links};
use crate::amqp::{Credentials, Cursors};
use crate::audit::{Audit, record_refusals};
use crate::bell::Bells;
use crate::clock::Clock;
use crate::driver::{Driver, Waits};
use crate::forwarder::{Abroad, Forwarder};
use crate::handle::{About, Handle};
use crate::home::Home;
use crate::identity::Providers;
use crate::known::Known;
use crate::load::Loads;
use crate::login::{Codes, Signer};
use crate::metrics::Metrics;
use crate::rate::Rates;
use crate::store::{MemoLimits, Paths, Reader, Recovery, Retention, SqliteStore, Writer};
use crate::tls::Tls;
use crate::vault::Vault;
use crate::{Config, Error, Pings, Ready, amqp, bootstrap, clock, http, tls};
use bursa_core::hub::{self, Hub};
use bursa_core::id::ManagerId;
use bursa_core::limits;
use bursa_fabric::{Acceptor, Context, KeyPair, Refusal, Timing};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Commands waiting for the driver: it takes up to a round of them at once.
const COMMANDS: usize = limits::ROUND_EVENTS;
/// Answers under way may take this long when the service stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// Runs the service until `shutdown`; calls `ready` once it listens, and answers `pings` from its loop.
///
/// Must be awaited on a current-thread tokio runtime with IO and time.
///
/// # Errors
/// One sentence for a person, see [`Error`].
pub async fn run(
    config: Config,
    ready: impl FnOnce(Ready),
    shutdown: impl Future<Output = ()>,
    pings: Pings,
) -> Result<(), Error> {
    let home = Home::open(&config.home)?;
    let metrics = Arc::new(Metrics::default());
    let paths = Paths::below(&home.service);
    let memo = MemoLimits { keep_ms: config.memo_ttl_ms, per_user: config.memo_per_user };
    let mut store = SqliteStore::open(&paths, memo, Arc::clone(&metrics))?;
    let recovery = store.recover()?;
    tracing::info!(
        epoch = recovery.epoch,
        live_tasks = recovery.tasks.len(),
        endpoints = recovery.endpoints.len(),
        "the store is open"
    );

    let keys = service_keys(&home.service)?;
    let listener = TcpListener::bind(config.http).await;
    let listener = listener.map_err(|why| Error::Http { address: config.http, why })?;
    let address = listener.local_addr().map_err(|why| Error::Http { address: config.http, why })?;
    let amqp = listen_amqp(&config).await.map_err(|why| Error::Amqp { address: config.amqp, why })?;
    let amqp_at = amqp.local_addr().map_err(|why| Error::Amqp { address: config.amqp, why })?;
    let amqp_place = amqp_place(&config, amqp_at);
    let (abroad, links, managers) = abroad(&home.service, &amqp_place, recovery.epoch)?;
    let (tell, refused) = mpsc::channel(limits::AUDIT_REFUSED);
    let forwarder = listen(&config, &keys, &recovery, (abroad, tell))?;

    let tls = Tls::open(&config.tls, &home.service, &config.names)?.map(Arc::new);
    let url = url(&config, address, tls.as_deref());
    bootstrap::prepare_client(&home, &mut store, &url)?;
    let zmq = config.public_zmq.clone().unwrap_or_else(|| forwarder.local_addr().to_owned());
    let about = About {
        service_key: keys.public.to_string(),
        zmq: zmq.clone(),
        http: address,
        amqp: amqp_place,
        names: config.names.clone(),
        is_tls: tls.is_some(),
        is_vouched_for: matches!(config.tls, tls::Source::Files { .. }),
    };
    let directory = home.service.join("audit");
    let audit = Audit::open(&directory, config.audit_bytes, Arc::clone(&metrics))
        .map_err(|why| Error::Audit { directory: directory.display().to_string(), why })?;
    let signer = Signer::new(&home.service);
    let (handle, driver) =
        assemble(&config, store, &paths, recovery, forwarder, (about, metrics, audit), (links, signer))?;

    ready(Ready { url, http: address.to_string(), zmq, service_key: keys.public.to_string() });
    let amqp = (amqp, tls.clone().filter(|_| !amqp_at.ip().is_loopback()));
    serve((listener, tls), (amqp, managers), (handle, refused), driver, shutdown, pings).await
}

/// Where clients of this home find the service. Where authorities vouch for its certificate it is asked for by its name,
/// else by its address and the certificate's hash.
fn url(config: &Config, address: SocketAddr, tls: Option<&Tls>) -> String {
    match (tls, &config.tls, config.names.first()) {
        (None, ..) => format!("http://{address}"),
        (Some(_), tls::Source::Files { .. }, Some(name)) if config.names.len() > 1 => {
            format!("https://{name}:{}", address.port())
        }
        (Some(tls), ..) => format!("https://{address}#sha256:{}", tls.pin()),
    }
}

/// Where clients and endpoints are told that AMQP is spoken. A certificate is for a name, and any address is none to go to.
fn amqp_place(config: &Config, at: SocketAddr) -> String {
    if at.ip().is_loopback() {
        return format!("amqp://{at}");
    }
    let has_tls = config.tls != tls::Source::Off;
    let scheme = if has_tls { "amqps" } else { "amqp" };
    // The last of the names is the host's own.
    let named = config.names.len() > 1 || has_tls || at.ip().is_unspecified();
    match config.names.first().filter(|_| named) {
        Some(name) => format!("{scheme}://{name}:{}", at.port()),
        None => format!("{scheme}://{at}"),
    }
}

/// Endpoints that speak AMQP: the forwarder's end of their managers, the connections' end, and these.
fn abroad(service: &Path, amqp: &str, epoch: u32) -> Result<(Abroad, Links, foreign::Driver), Error> {
    let unreadable = |why| Error::Refused(format!("the service's key cannot be read: {why}"));
    let foreign = Arc::new(Foreign::new(&service.join("curve.key")).map_err(unreadable)?);
    let (orders, of_hub) = mpsc::channel(limits::FOREIGN_OF_HUB);
    let (to_hub, said) = mpsc::channel(limits::ROUND_EVENTS);
    let life = (ManagerId::from_bytes(clock::new_id().map_err(Error::Random)?), u64::from(epoch));
    let (links, managers) = foreign::Driver::new(Arc::clone(&foreign), amqp.into(), life, (of_hub, to_hub));
    Ok((Abroad { foreign, said, orders }, links, managers))
}

/// The port for AMQP: another where nobody asked for this one and another process has it.
async fn listen_amqp(config: &Config) -> std::io::Result<TcpListener> {
    let mut address = config.amqp;
    match TcpListener::bind(address).await {
        Err(error) if config.amqp_anywhere && error.kind() == std::io::ErrorKind::AddrInUse => {
            address.set_port(0);
            TcpListener::bind(address).await
        }
        bound => bound,
    }
}

/// The service's own key pair, made at the first start.
fn service_keys(service: &Path) -> Result<KeyPair, Error> {
    let path = service.join("curve.key");
    if path.exists() {
        return Ok(KeyPair::load(&path)?);
    }
    let keys = KeyPair::generate()?;
    keys.save(&path)?;
    Ok(keys)
}

fn listen(
    config: &Config,
    keys: &KeyPair,
    recovery: &Recovery,
    (abroad, tell): (Abroad, mpsc::Sender<Refusal>),
) -> Result<Forwarder, Error> {
    let ms = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let timing = Timing { threshold_ms: ms(config.threshold_ms) };
    let mut acceptor = Acceptor::bind(&Context::new()?, &config.zmq, keys, timing)?;
    acceptor.tell_refusals(tell);
    if let Some(Err(error)) = config.bulk.map(|port| acceptor.listen_bulk(port)) {
        tracing::warn!("{error}");
    }
    let mut forwarder = Forwarder::new(acceptor, abroad);
    for (endpoint, key) in &recovery.keys {
        forwarder.allow(*endpoint, key)?;
    }
    Ok(forwarder)
}

fn assemble(
    config: &Config,
    store: SqliteStore,
    paths: &Paths,
    recovery: Recovery,
    forwarder: Forwarder,
    (about, metrics, audit): (About, Arc<Metrics>, Audit),
    (links, signer): (Links, Signer),
) -> Result<(Handle, Driver), Error> {
    let reader = Arc::new(Reader::beside(&store, paths)?);
    let slow_reader = Reader::beside(&store, paths)?;
    let known = Arc::new(Known::new(Arc::clone(&reader)));
    let bells = Arc::new(Bells::default());
    let clock = Clock::new();
    let (commands, asked) = mpsc::channel(COMMANDS);
    let vault = Arc::new(Vault::open(&config.home.join("service/secrets.key"))?);
    let hub_config = hub::Config {
        epoch: recovery.epoch,
        heartbeat_ms: config.heartbeat_ms,
        threshold_ms: config.threshold_ms,
        grace_ms: limits::GRACE_MS,
        tasks_per_user: config.tasks_per_user,
        fail_when_offline_ms: config.fail_when_offline_ms,
    };
    let retention = Retention { keep_ms: config.retention_ms, per_user: config.results_per_user };
    let endpoints =
        recovery.endpoints.iter().filter(|known| !known.deleted).map(|known| known.endpoint).collect();
    let (mut hub, mut out) =
        (Hub::new(hub_config, clock.now(), recovery.endpoints, recovery.tasks), Vec::new());
    for (user, hash) in recovery.secretive {
        hub.handle(clock.now(), hub::Event::Granted { user, hash, granted: true }, &mut out);
    }
    let driver = Driver {
        hub,
        clock,
        writer: Writer::new(store, paths, retention)?,
        forwarder,
        loads: Loads::new(Arc::clone(&reader), Arc::clone(&vault), Arc::clone(&metrics)),
        commands: asked,
        bells: Arc::clone(&bells),
        known: Arc::clone(&known),
        metrics: Arc::clone(&metrics),
        endpoints,
        waits: Waits::default(),
        out,
    };
    let handle = Handle {
        commands,
        slow_reader: Arc::new(slow_reader),
        known,
        rates: Rates::new(config.rates),
        identity: Providers::new(&config.identity, &config.exchange, &config.home)?,
        audit: Arc::new(audit),
        reader,
        bells,
        metrics,
        about,
        intake: Arc::default(),
        codes: Codes::default(),
        signer,
        vault,
        credentials: Credentials::default(),
        cursors: Cursors::default(),
        foreign: driver.forwarder.foreign(),
        links,
        guests: tokio::sync::Mutex::default(),
    };
    Ok((handle, driver))
}

/// Serves until `shutdown`; then takes no more, lets answers leave, and closes the store.
async fn serve(
    (listener, tls): (TcpListener, Option<Arc<Tls>>),
    (amqp, managers): ((TcpListener, Option<Arc<Tls>>), foreign::Driver),
    (handle, refused): (Handle, mpsc::Receiver<Refusal>),
    driver: Driver,
    shutdown: impl Future<Output = ()>,
    pings: Pings,
) -> Result<(), Error> {
    let (stop, stopped) = oneshot::channel::<()>();
    let mut tasks = JoinSet::new();
    let (handle, (say_stop, stopping)) = (Arc::new(handle), watch::channel(false));
    let audit = Arc::clone(&handle.audit);
    if let Some(tls) = &tls {
        tasks.spawn(Arc::clone(tls).reload_on_hangup(stopping.clone()));
    }
    let managers = tokio::spawn(managers.run());
    let refusals = tokio::spawn(record_refusals(refused, Arc::clone(&audit)));
    tasks.spawn(amqp::serve(amqp, Arc::clone(&handle), stopping));
    tasks.spawn(http::serve(listener, tls, handle, async move {
        let _ = stopped.await;
        let _ = say_stop.send(true);
    }));
    let mut failure = None;
    {
        let end = async {
            tokio::select! {
                () = shutdown => {}
                ended = tasks.join_next() => failure = ended,
            }
            let _ = stop.send(());
            let _ =
                tokio::time::timeout(FAREWELL, async { while tasks.join_next().await.is_some() {} }).await;
        };
        Box::pin(driver.run(end, pings)).await;
    }
    tasks.shutdown().await;
    managers.abort();
    // It ends with who tells it, which is the driver's.
    let _ = tokio::time::timeout(FAREWELL, refusals).await;
    audit.finish();
    match failure {
        Some(Err(error)) => Err(Error::Server(error.to_string())),
        Some(Ok(())) | None => Ok(()),
    }
}
