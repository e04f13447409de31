//! What http asks of the driver.

use crate::intake::Admitted;
use crate::metrics::Gauges;
use crate::store::{Change, Changed};
use bursa_core::hub::{EndpointStatus, Guest, Reply};
use bursa_core::id::{EndpointId, GroupId, TaskId, UserId};
use bursa_core::task::{TaskSpec, TaskState};
use tokio::sync::{mpsc, oneshot};

/// One request to the driver. Who does not wait for the answer any more drops its receiver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept these tasks.
    Submit { user: UserId, group: GroupId, tasks: Vec<TaskSpec>, answer: ReplyTo },
    /// End these tasks.
    Cancel { tasks: Vec<TaskId>, answer: ReplyTo },
    /// Delete an endpoint.
    DeleteEndpoint { endpoint: EndpointId, answer: ReplyTo },
    /// Change the registry.
    Change(Change, oneshot::Sender<Result<Changed, String>>),
    /// Where live tasks stand.
    States(Vec<TaskId>, oneshot::Sender<Vec<Option<TaskState>>>),
    /// Why a live task stands where it stands.
    Explain { task: TaskId, answer: ReplyTo },
    /// How endpoints are.
    Endpoints(Vec<EndpointId>, oneshot::Sender<Vec<Option<EndpointStatus>>>),
    /// What an endpoint has of a user, and whether it takes guests.
    Guest(EndpointId, UserId, oneshot::Sender<Option<Guest>>),
    /// Numbers for a scrape.
    Gauges(oneshot::Sender<Gauges>),
}

/// Where a reply of the hub goes.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// To one request.
    One(oneshot::Sender<Reply>),
    /// To one request that submits.
    Submit(oneshot::Sender<Reply>, Admitted),
    /// To a stream, with the number of its submit. The stream has room for as many as it has open.
    Stream(u64, mpsc::Sender<(u64, Reply)>, Admitted),
}

impl ReplyTo {
    /// Gives the reply to who waits for it, if anybody still does.
    pub(crate) fn send(self, reply: Reply) {
        match self {
            Self::One(waits) => drop(waits.send(reply)),
            // The place is free before the client hears of it: its next submit may follow at once.
            Self::Submit(waits, admitted) => {
                drop(admitted);
                drop(waits.send(reply));
            }
            Self::Stream(number, waits, admitted) => {
                drop(admitted);
                drop(waits.try_send((number, reply)));
            }
        }
    }
}
