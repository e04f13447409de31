//! The cheap, clonable handle through which http reaches everything else: driver, readers, tokens, bells, counters.

use crate::amqp::foreign::{Foreign, Links};
use crate::amqp::{Credentials, Cursors};
use crate::audit::{self, Audit};
use crate::auth::Session;
use crate::bell::Bells;
use crate::clock;
use crate::command::{Command, ReplyTo};
use crate::http::{ApiError, User};
use crate::identity::{self, Providers};
use crate::intake::{Admitted, Intake};
use crate::known::Known;
use crate::login::{Codes, Signer};
use crate::metrics::{Gauges, Metrics};
use crate::rate::Rates;
use crate::store::{Change, Changed, Content, Error, Reader, UserRow};
use crate::vault::Vault;
use bursa_core::hub::{EndpointStatus, Guest, Reply};
use bursa_core::id::{EndpointId, GroupId, TaskId, UserId};
use bursa_core::task::{TaskSpec, TaskState};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;

/// Everything http needs.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    /// Reads of a few rows, made in place.
    pub(crate) reader: Arc<Reader>,
    /// Reads that may take long, made on a thread.
    pub(crate) slow_reader: Arc<Reader>,
    pub(crate) known: Arc<Known>,
    pub(crate) rates: Rates,
    pub(crate) identity: Providers,
    pub(crate) audit: Arc<Audit>,
    pub(crate) bells: Arc<Bells>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) about: About,
    pub(crate) intake: Arc<Intake>,
    pub(crate) codes: Codes,
    pub(crate) signer: Signer,
    pub(crate) vault: Arc<Vault>,
    pub(crate) credentials: Credentials,
    pub(crate) cursors: Cursors,
    pub(crate) foreign: Arc<Foreign>,
    pub(crate) links: Links,
    /// Held by who submits as a guest with bounds.
    pub(crate) guests: tokio::sync::Mutex<()>,
}

/// What endpoints are told about this service.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) service_key: String,
    pub(crate) zmq: String,
    /// Where the REST API listens.
    pub(crate) http: SocketAddr,
    /// Where results are read by AMQP, as `amqp://host:port` or `amqps:`.
    pub(crate) amqp: String,
    /// Names by which the REST API is asked for, beside localhost.
    pub(crate) names: Vec<String>,
    /// The REST API has TLS.
    pub(crate) is_tls: bool,
    /// Browsers may be told never to come without it.
    pub(crate) is_vouched_for: bool,
}

/// The driver is gone: the service stops.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopping;

impl Handle {
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopping> {
        let (answer, waits) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Stopping)?;
        waits.await.map_err(|_| Stopping)
    }

    pub(crate) async fn submit(
        &self,
        user: UserId,
        group: GroupId,
        tasks: Vec<TaskSpec>,
        admitted: Admitted,
    ) -> Result<Reply, Stopping> {
        self.ask(|answer| Command::Submit { user, group, tasks, answer: ReplyTo::Submit(answer, admitted) })
            .await
    }

    pub(crate) async fn cancel(&self, tasks: Vec<TaskId>) -> Result<Reply, Stopping> {
        self.ask(|answer| Command::Cancel { tasks, answer: ReplyTo::One(answer) }).await
    }

    pub(crate) async fn delete_endpoint(&self, endpoint: EndpointId) -> Result<Reply, Stopping> {
        let reply =
            self.ask(|answer| Command::DeleteEndpoint { endpoint, answer: ReplyTo::One(answer) }).await;
        self.known.forget_endpoint(&endpoint);
        reply
    }

    /// Changes the registry; the inner error is why the store could not be written.
    pub(crate) async fn change(&self, change: Change) -> Result<Result<Changed, String>, Stopping> {
        audit::about(&change);
        self.ask(|answer| Command::Change(change, answer)).await
    }

    /// Notes that a token is used, if the driver has time for it: nobody waits for that.
    pub(crate) fn note_use(&self, hash: [u8; 32]) {
        let change = Change::UseToken { hash, now: clock::wall() };
        let _ = self.commands.try_send(Command::Change(change, oneshot::channel().0));
    }

    /// The same user as his token makes him now; `None`: it is good for nothing any more.
    pub(crate) fn again(&self, user: &User) -> Result<Option<User>, Error> {
        let session = self.known.tokens.session(&user.token_hash, clock::wall())?;
        Ok(session.map(|session| User::of(session, user.token_hash)))
    }

    /// Whether the owner of an endpoint is there and not disabled.
    pub(crate) fn owner_is_active(&self, endpoint: &EndpointId) -> Result<bool, Error> {
        let Some(known) = self.known.endpoint(endpoint)? else { return Ok(false) };
        Ok(self.reader.active_user(known.access.owner)?.is_some())
    }

    /// What a token of another issuer is good for now, while what that says of it counts; `None`: none is asked about it.
    pub(crate) async fn known_elsewhere(
        &self,
        token: &str,
        hash: [u8; 32],
    ) -> Result<Option<Session>, ApiError> {
        let Some(known) = self.identity.user_of(token).await? else { return Ok(None) };
        let user = self.user_of(&known).await?;
        let (tokens, now) = (&self.known.tokens, clock::wall());
        tokens.lend(hash, user.no, known.scopes, known.expires, now);
        Ok(tokens.session(&hash, now)?)
    }

    /// The user who somebody else says somebody is.
    pub(crate) async fn user_of(&self, known: &identity::Known) -> Result<Arc<UserRow>, ApiError> {
        let who = [&known.issuer, &known.subject, &known.username].map(String::clone);
        self.see_identity(who, known.groups.clone()).await
    }

    /// The user of an identity, of whom its issuer says that he is in these groups. At first sight he becomes one. Written only
    /// if something of it is new: each write of it has all tokens looked up again.
    pub(crate) async fn see_identity(
        &self,
        [issuer, subject, username]: [String; 3],
        groups: Vec<String>,
    ) -> Result<Arc<UserRow>, ApiError> {
        let known = self.reader.seen([&issuer, &subject, &username], &groups)?;
        if let Some(user) = known {
            return active(user.into());
        }
        let user = UserId::from_bytes(clock::new_id()?);
        let change = Change::SeeIdentity { user, issuer, subject, username, groups, now: clock::wall() };
        match self.change(change).await?.map_err(ApiError::unavailable)? {
            Changed::User(user) => active(user),
            other => Err(ApiError::internal(format!("{other:?} is no answer to an identity"))),
        }
    }

    pub(crate) async fn states(&self, tasks: Vec<TaskId>) -> Result<Vec<Option<TaskState>>, Stopping> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(|answer| Command::States(tasks, answer)).await
    }

    /// Why a live task stands where it stands; none: it is not live.
    pub(crate) async fn explain(&self, task: TaskId) -> Result<Reply, Stopping> {
        self.ask(|answer| Command::Explain { task, answer: ReplyTo::One(answer) }).await
    }

    pub(crate) async fn endpoints(
        &self,
        endpoints: Vec<EndpointId>,
    ) -> Result<Vec<Option<EndpointStatus>>, Stopping> {
        self.ask(|answer| Command::Endpoints(endpoints, answer)).await
    }

    /// What an endpoint has of a user, and whether it takes guests; `None`: there is no such endpoint.
    pub(crate) async fn guest(&self, endpoint: EndpointId, user: UserId) -> Result<Option<Guest>, Stopping> {
        self.ask(|answer| Command::Guest(endpoint, user, answer)).await
    }

    pub(crate) async fn gauges(&self) -> Result<Gauges, Stopping> {
        self.ask(Command::Gauges).await
    }

    /// The payload's bytes; `None`: its file is gone. Files are read on a thread.
    pub(crate) async fn payload(&self, payload: Content) -> Result<Result<Option<Bytes>, Error>, JoinError> {
        match payload {
            Content::Here(bytes) => Ok(Ok(Some(bytes))),
            Content::File(hash) => {
                if let Some(bytes) = self.slow_reader.at_hand(&hash) {
                    return Ok(Ok(Some(bytes)));
                }
                let reader = Arc::clone(&self.slow_reader);
                tokio::task::spawn_blocking(move || reader.find_file(&hash)).await
            }
        }
    }
}

fn active(user: Arc<UserRow>) -> Result<Arc<UserRow>, ApiError> {
    if user.active { Ok(user) } else { Err(ApiError::unauthorized("its user is disabled")) }
}
