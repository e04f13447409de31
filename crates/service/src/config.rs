//! What the service is configured with: the keys, and their values with types.
//!
//! Finding the values (flag, environment, file) is the command's business.

use crate::identity::{self, ExchangeSettings, IdentitySettings, Providers};
use crate::rate::Limits;
use crate::tls;
use bursa_core::config::{ConfigError, Key, Source, Values};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

macro_rules! key {
    ($const:ident, $name:literal, $env:literal, $default:literal, $about:literal) => {
        const $const: Key =
            Key { name: concat!("service.", $name), env: $env, default: $default, about: $about };
    };
}

key!(
    HTTP,
    "http",
    "BURSA_HTTP",
    "127.0.0.1:5000",
    "where the REST API listens, as address:port (port 0: any free one)"
);
key!(
    PUBLIC_HTTP,
    "public_http",
    "BURSA_PUBLIC_HTTP",
    "",
    "names by which the REST API is asked for beside localhost and the host's own, with commas: requests for any other are refused"
);
key!(
    PLAIN_HTTP,
    "plain_http",
    "BURSA_PLAIN_HTTP",
    "false",
    "true: the REST API may listen without TLS where others can reach it, as behind a proxy that has TLS"
);
key!(
    TLS_CERT,
    "tls_cert",
    "BURSA_TLS_CERT",
    "",
    "the certificate of the REST API, a file in PEM; read again on SIGHUP"
);
key!(TLS_KEY, "tls_key", "BURSA_TLS_KEY", "", "its key, a file in PEM that only its owner may read");
key!(
    TLS_SELF_SIGNED,
    "tls_self_signed",
    "BURSA_TLS_SELF_SIGNED",
    "false",
    "true: HTTPS with a certificate made here, which clients know by its hash in the url"
);
key!(
    ZMQ,
    "zmq",
    "BURSA_ZMQ",
    "127.0.0.1:55001",
    "where endpoints connect, as address:port (port 0: any free one; unset while the REST API's port is 0: the same)"
);
key!(
    PUBLIC_ZMQ,
    "public_zmq",
    "BURSA_PUBLIC_ZMQ",
    "",
    "the address of `zmq` as endpoints elsewhere reach it, as host:port; empty: the one it listens on"
);
key!(
    BULK,
    "bulk",
    "BURSA_BULK",
    "55002",
    "the port beside `zmq` to which endpoints move once they are known (0: any free one; unset while the port of `zmq` is 0: the same; none: all stays on `zmq`, which is slower)"
);
key!(
    AMQP,
    "amqp",
    "BURSA_AMQP",
    "127.0.0.1:5672",
    "where Globus Compute's clients read results, as address:port, with the REST API's TLS where others can reach it (port 0: any free one; unset while the REST API's port is 0, or while another process has the port: the same)"
);
key!(
    PLAIN_AMQP,
    "plain_amqp",
    "BURSA_PLAIN_AMQP",
    "false",
    "true: results may be read without TLS where others can reach `amqp`, as behind a proxy that has TLS"
);
key!(
    HEARTBEAT,
    "heartbeat_ms",
    "BURSA_SERVICE_HEARTBEAT_MS",
    "10000",
    "service and managers say something at least this often"
);
key!(
    THRESHOLD,
    "threshold_ms",
    "BURSA_SERVICE_THRESHOLD_MS",
    "30000",
    "an endpoint that is silent for this long is shown offline"
);

key!(
    RETENTION,
    "retention_days",
    "BURSA_RETENTION_DAYS",
    "14",
    "days for which an ended task is kept with its result, arguments and payload files; fractions are possible"
);
key!(
    RESULTS_PER_USER,
    "results_per_user",
    "BURSA_RESULTS_PER_USER",
    "10737418240",
    "bytes of ended tasks kept for one user; beyond them the oldest ended are removed first"
);
key!(
    MEMO_TTL,
    "memo_ttl_days",
    "BURSA_MEMO_TTL_DAYS",
    "30",
    "days for which a memoized result is given to equal calls; fractions are possible"
);
key!(
    MEMO_PER_USER,
    "memo_per_user",
    "BURSA_MEMO_PER_USER",
    "1073741824",
    "bytes of memoized results kept for one user; beyond them those that were not used for longest are removed first"
);
key!(
    TASKS_PER_USER,
    "tasks_per_user",
    "BURSA_TASKS_PER_USER",
    "2000000",
    "tasks of one user that have not ended, beyond which he is told to submit again later"
);

key!(
    RATE_READ,
    "rate_read",
    "BURSA_RATE_READ",
    "2000",
    "requests in a second by which one user may read, ten times as many at once; 0: no limit"
);
key!(
    RATE_WRITE,
    "rate_write",
    "BURSA_RATE_WRITE",
    "500",
    "the same for requests that change something and submit no tasks"
);
key!(
    RATE_SUBMIT,
    "rate_submit",
    "BURSA_RATE_SUBMIT",
    "10000",
    "the same for submits, each of one task or many"
);
key!(
    RATE_BAD_LOGINS,
    "rate_bad_logins",
    "BURSA_RATE_BAD_LOGINS",
    "10",
    "the same for requests with an unknown token from one address; further ones are answered 429"
);

key!(
    AUDIT_MB,
    "audit_mb",
    "BURSA_AUDIT_MB",
    "1024",
    "megabytes of the audit log; beyond them its oldest file is removed"
);
key!(
    FAIL_WHEN_OFFLINE,
    "fail_when_offline_ms",
    "BURSA_FAIL_WHEN_OFFLINE_MS",
    "0",
    "an endpoint that is offline for this long fails its tasks with endpoint-offline; 0: they wait for it until their deadlines"
);

const IDENTITY: Key = Key {
    name: "identity",
    env: "BURSA_IDENTITY",
    default: "[]",
    about: "who else says who somebody is: a [[identity]] for each provider, a JSON list in the environment (docs/identities.md)",
};
const EXCHANGE: Key = Key {
    name: "exchange",
    env: "BURSA_EXCHANGE",
    default: "[]",
    about: "rules by which workloads get tokens for their own: an [[exchange]] for each, a JSON list in the environment (docs/identities.md)",
};

/// Every key of the section `service`, and those of the service that are sections of their own.
pub const KEYS: &[Key] = &[
    IDENTITY,
    EXCHANGE,
    HTTP,
    PUBLIC_HTTP,
    PLAIN_HTTP,
    TLS_CERT,
    TLS_KEY,
    TLS_SELF_SIGNED,
    ZMQ,
    PUBLIC_ZMQ,
    BULK,
    AMQP,
    PLAIN_AMQP,
    HEARTBEAT,
    THRESHOLD,
    RETENTION,
    RESULTS_PER_USER,
    MEMO_TTL,
    MEMO_PER_USER,
    TASKS_PER_USER,
    RATE_READ,
    RATE_WRITE,
    RATE_SUBMIT,
    RATE_BAD_LOGINS,
    AUDIT_MB,
    FAIL_WHEN_OFFLINE,
];

/// The values, with types, and where the service lives.
#[derive(Debug, Clone)]
pub struct Config {
    /// The home directory, `~/.bursa` by default.
    pub home: PathBuf,
    /// Where the REST API listens.
    pub http: SocketAddr,
    /// Names by which the REST API is asked for, beside localhost.
    pub names: Vec<String>,
    /// Its TLS.
    pub tls: tls::Source,
    /// Where endpoints connect.
    pub zmq: String,
    /// What endpoints are told instead, if anything.
    pub public_zmq: Option<String>,
    /// The port of bulk connections, if any.
    pub bulk: Option<u16>,
    /// Where Globus Compute's clients read results.
    pub amqp: SocketAddr,
    /// Whether any other free port does as well.
    pub amqp_anywhere: bool,
    /// Say something at least this often.
    pub heartbeat_ms: u64,
    /// Silence beyond this ends a session.
    pub threshold_ms: u64,
    /// How long an ended task is kept.
    pub retention_ms: u64,
    /// Bytes of ended tasks kept for one user.
    pub results_per_user: u64,
    /// How long a memoized result is given to equal calls.
    pub memo_ttl_ms: u64,
    /// Bytes of memoized results kept for one user.
    pub memo_per_user: u64,
    /// Live tasks of one user beyond which nothing new of his is taken.
    pub tasks_per_user: usize,
    /// How often one may ask.
    pub rates: Limits,
    /// Bytes of the audit log.
    pub audit_bytes: u64,
    /// How long the tasks of an endpoint that is offline wait for it; `None`: until their deadlines.
    pub fail_when_offline_ms: Option<u64>,
    /// Who else says who somebody is.
    pub identity: Vec<IdentitySettings>,
    /// How workloads get tokens.
    pub exchange: Vec<ExchangeSettings>,
}

impl Config {
    /// The configuration of the service in `home`.
    ///
    /// # Errors
    /// [`ConfigError`] for the first value that is not what its key must be.
    pub fn from_values(values: &Values, home: &Path) -> Result<Self, ConfigError> {
        let http: SocketAddr = values.parse(&HTTP)?;
        let tls = tls_source(values)?;
        if tls == tls::Source::Off {
            check_plain(values, http)?;
        }
        let names = values.get(&PUBLIC_HTTP).0.split([',', ':', ' ']).filter(|name| !name.is_empty());
        let names = names.map(str::to_owned).chain(std::iter::once(crate::home::node())).collect();
        let zmq = match values.get(&ZMQ) {
            (_, Source::Default) if http.port() == 0 => "127.0.0.1:0".to_owned(),
            _ => address(values, &ZMQ)?,
        };
        let public_zmq = match values.get(&PUBLIC_ZMQ).0 {
            "" => None,
            _ => Some(address(values, &PUBLIC_ZMQ)?),
        };
        let bulk = match values.get(&BULK) {
            ("none", _) => None,
            (_, Source::Default) if zmq.ends_with(":0") => Some(0),
            _ => Some(port(values, &BULK)?),
        };
        let mut amqp: SocketAddr = values.parse(&AMQP)?;
        if tls == tls::Source::Off {
            check_plain_amqp(values, amqp)?;
        }
        let amqp_anywhere = values.get(&AMQP).1 == Source::Default;
        if amqp_anywhere && http.port() == 0 {
            amqp.set_port(0);
        }
        let heartbeat_ms = values.whole(&HEARTBEAT, 1..=u64::MAX)?;
        let threshold_ms = values.whole(&THRESHOLD, 1..=u64::MAX)?;
        if threshold_ms / 2 < heartbeat_ms {
            let why = format!("it must be at least twice {} ({heartbeat_ms})", HEARTBEAT.name);
            return Err(values.wrong(&THRESHOLD, why));
        }
        let retention_ms = days(values, &RETENTION)?;
        let results_per_user = values.whole(&RESULTS_PER_USER, 1..=u64::MAX)?;
        let memo_ttl_ms = days(values, &MEMO_TTL)?;
        let memo_per_user = values.whole(&MEMO_PER_USER, 1..=u64::MAX)?;
        let tasks_per_user = values.whole(&TASKS_PER_USER, 1..=usize::MAX)?;
        let fail_when_offline_ms = Some(values.whole(&FAIL_WHEN_OFFLINE, 0..=u64::MAX)?).filter(|ms| *ms > 0);
        let (identity, exchange) = sources(values, home)?;
        let home = home.to_owned();
        Ok(Self {
            home,
            http,
            names,
            tls,
            zmq,
            public_zmq,
            bulk,
            amqp,
            amqp_anywhere,
            heartbeat_ms,
            threshold_ms,
            retention_ms,
            results_per_user,
            memo_ttl_ms,
            memo_per_user,
            tasks_per_user,
            rates: rates(values)?,
            audit_bytes: values.whole(&AUDIT_MB, 1..=u64::MAX >> 20)? << 20,
            fail_when_offline_ms,
            identity,
            exchange,
        })
    }
}

fn rates(values: &Values) -> Result<Limits, ConfigError> {
    let rate = |key| values.whole(key, 0..=u32::MAX);
    Ok(Limits {
        read: rate(&RATE_READ)?,
        write: rate(&RATE_WRITE)?,
        submit: rate(&RATE_SUBMIT)?,
        bad_logins: rate(&RATE_BAD_LOGINS)?,
    })
}

/// Refuses tokens in the clear where others can read them, unless that was said.
fn check_plain(values: &Values, http: SocketAddr) -> Result<(), ConfigError> {
    if truth(values, &PLAIN_HTTP)? || http.ip().is_loopback() {
        return Ok(());
    }
    let why = "without TLS tokens would cross the network in the clear: set service.tls_cert and service.tls_key, say \
               --tls-self-signed, or say --plain-http (service.plain_http = true) where a proxy with TLS stands before it";
    Err(values.wrong(&HTTP, why.into()))
}

/// The same for results, and passwords that are good for five minutes.
fn check_plain_amqp(values: &Values, amqp: SocketAddr) -> Result<(), ConfigError> {
    if truth(values, &PLAIN_AMQP)? || amqp.ip().is_loopback() {
        return Ok(());
    }
    let why = "without TLS results would cross the network in the clear: set service.tls_cert and service.tls_key, say \
               --tls-self-signed, bring a loopback address elsewhere through a tunnel, or set service.plain_amqp = true \
               where a proxy with TLS stands before it";
    Err(values.wrong(&AMQP, why.into()))
}

fn tls_source(values: &Values) -> Result<tls::Source, ConfigError> {
    let (cert, key) = (values.get(&TLS_CERT).0, values.get(&TLS_KEY).0);
    match (cert, key, truth(values, &TLS_SELF_SIGNED)?) {
        ("", "", false) => Ok(tls::Source::Off),
        ("", "", true) => Ok(tls::Source::SelfSigned),
        (_, _, true) => Err(values
            .wrong(&TLS_SELF_SIGNED, "there is a certificate in service.tls_cert: leave one out".into())),
        ("", _, _) => Err(values.wrong(&TLS_KEY, "it needs service.tls_cert beside it".into())),
        (_, "", _) => Err(values.wrong(&TLS_CERT, "it needs service.tls_key beside it".into())),
        (cert, key, false) => Ok(tls::Source::Files { cert: cert.into(), key: key.into() }),
    }
}

fn truth(values: &Values, key: &Key) -> Result<bool, ConfigError> {
    values.get(key).0.parse().map_err(|_| values.wrong(key, "it must be true or false".into()))
}

/// Who else says who somebody is, and how workloads get tokens.
fn sources(
    values: &Values,
    home: &Path,
) -> Result<(Vec<IdentitySettings>, Vec<ExchangeSettings>), ConfigError> {
    let wrong = |key, why| values.wrong(key, why);
    let identity = identity::parse_identity(values.get(&IDENTITY).0).map_err(|why| wrong(&IDENTITY, why))?;
    let exchange = identity::parse_exchange(values.get(&EXCHANGE).0).map_err(|why| wrong(&EXCHANGE, why))?;
    // What is not there now would stop the service when it has begun.
    Providers::new(&identity, &exchange, home).map_err(|why| wrong(&IDENTITY, why.to_string()))?;
    Ok((identity, exchange))
}

/// Days as milliseconds.
fn days(values: &Values, key: &Key) -> Result<u64, ConfigError> {
    const DAY: f64 = 86_400.0;
    let days = values.get(key).0.parse::<f64>().ok();
    match days.and_then(|days| Duration::try_from_secs_f64(days * DAY).ok()) {
        Some(time) if time >= Duration::from_millis(1) => {
            Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        }
        _ => Err(values.wrong(key, "it must be a number of days above 0".into())),
    }
}

/// A port, where "none" stands for no port.
fn port(values: &Values, key: &Key) -> Result<u16, ConfigError> {
    let why = "it must be a port, 0 to 65535, or none";
    values.get(key).0.parse().map_err(|_| values.wrong(key, why.into()))
}

fn address(values: &Values, key: &Key) -> Result<String, ConfigError> {
    let text = values.get(key).0;
    let valid =
        text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if valid { Ok(text.to_owned()) } else { Err(values.wrong(key, "expected host:port".into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(set: &[(&Key, &str)]) -> Result<Config, ConfigError> {
        let mut values = Values::default();
        for (key, value) in set {
            values.offer(key, *value, Source::Env);
        }
        Config::from_values(&values, Path::new("/h"))
    }

    #[test]
    fn a_free_http_port_means_a_free_zmq_port_unless_that_is_set() {
        assert_eq!(config(&[]).unwrap().zmq, "127.0.0.1:55001");
        assert_eq!(config(&[(&HTTP, "127.0.0.1:0")]).unwrap().zmq, "127.0.0.1:0");
        assert_eq!(config(&[(&HTTP, "127.0.0.1:0"), (&ZMQ, "127.0.0.1:7")]).unwrap().zmq, "127.0.0.1:7");
    }

    #[test]
    fn plain_http_elsewhere_must_be_said() {
        assert!(config(&[(&HTTP, "[::1]:0")]).is_ok());
        assert!(config(&[(&HTTP, "0.0.0.0:0"), (&PLAIN_HTTP, "true")]).is_ok());
        assert!(config(&[(&HTTP, "0.0.0.0:0"), (&PLAIN_HTTP, "false")]).is_err());
        assert!(config(&[(&HTTP, "0.0.0.0:0"), (&TLS_SELF_SIGNED, "true")]).is_ok());
        assert!(config(&[(&HTTP, "0.0.0.0:0"), (&TLS_CERT, "/c"), (&TLS_KEY, "/k")]).is_ok());
        assert!(config(&[(&TLS_SELF_SIGNED, "true"), (&TLS_CERT, "/c"), (&TLS_KEY, "/k")]).is_err());
    }

    #[test]
    fn the_bulk_port_follows_zmq_and_can_be_none() {
        assert_eq!(config(&[]).unwrap().bulk, Some(55002));
        assert_eq!(config(&[(&ZMQ, "127.0.0.1:0")]).unwrap().bulk, Some(0));
        assert_eq!(config(&[(&BULK, "7")]).unwrap().bulk, Some(7));
        assert_eq!(config(&[(&BULK, "none")]).unwrap().bulk, None);
    }

    #[test]
    fn a_bad_value_names_its_key() {
        for (key, value) in [
            (&HTTP, "localhost"),
            (&HTTP, "0.0.0.0:5000"),
            (&HTTP, "[::]:0"),
            (&PLAIN_HTTP, "yes"),
            (&TLS_CERT, "/cert"),
            (&TLS_KEY, "/key"),
            (&ZMQ, "here"),
            (&PUBLIC_ZMQ, ":1"),
            (&BULK, "127.0.0.1:55002"),
            (&AMQP, "0.0.0.0:5672"),
            (&THRESHOLD, "19999"),
            (&RETENTION, "-1"),
            (&IDENTITY, "{}"),
            (&EXCHANGE, "[1]"),
        ] {
            let error = config(&[(key, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} = '{value}' (from environment)", key.name)), "{error}");
        }
    }
}
