//! The bodies of the REST API: what the OpenAPI document shows.

use super::timings::TaskTimings;
use super::value::{AskedResources, Asks, Data, Place, Text, Time};
use bursa_core::id::{
    BlockId, ContainerId, EndpointId, ExecutorId, FunctionId, GroupId, Hash, TaskId, UserId,
};
use bursa_core::task::{Failure, TaskState};
use bursa_core::wire::{Blocks, Warm};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The software.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    pub(crate) version: &'static str,
    /// The API's version: `v1`.
    pub(crate) api: &'static str,
}

/// Whether the service can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok` or `failing`.
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// A function to register.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFunction {
    /// Its name in the user's code.
    pub(crate) name: String,
    /// The serialized function (`docs/protocol.md` §1): base64 in JSON, `bin` in msgpack.
    #[schema(value_type = String, format = Byte)]
    pub(crate) body: Data,
    /// What it does, for people.
    pub(crate) description: Option<String>,
    /// `major.minor` of the Python that serialized it.
    pub(crate) python: Option<String>,
    /// The container it is called in unless a call says otherwise; absent or `raw`: the endpoint's own environment.
    #[schema(value_type = Option<String>)]
    pub(crate) container: Option<Place>,
}

/// A registered function.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Registered {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) function_id: Text<FunctionId>,
    /// blake3 of the body, in hex.
    #[schema(value_type = String)]
    pub(crate) hash: Text<Hash>,
}

/// What is known of a function, apart from its body.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Function {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) function_id: Text<FunctionId>,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) python: String,
    /// blake3 of the body, in hex.
    #[schema(value_type = String)]
    pub(crate) hash: Text<Hash>,
    /// Bytes of the body.
    pub(crate) size: u64,
    /// The container it is called in unless a call says otherwise; absent: the endpoint's own environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) container: Option<Text<ContainerId>>,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) registered_at: Time,
}

/// A page of functions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Functions {
    pub(crate) functions: Vec<Function>,
    /// `after` for the next page; null when there is none.
    pub(crate) next: Option<String>,
}

/// A container to register.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewContainer {
    /// `docker`, `podman`, `apptainer`, `singularity`, `shifter`, `charliecloud`, `bwrap` or `custom`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Where the image is: a name in a registry, or a path at the endpoint.
    pub(crate) location: String,
    /// For people.
    pub(crate) name: Option<String>,
    /// What is in it, for people.
    pub(crate) description: Option<String>,
}

/// A registered container's id.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContainerMade {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) container_id: Text<ContainerId>,
}

/// A container.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShownContainer {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) container_id: Text<ContainerId>,
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) location: String,
    pub(crate) description: String,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) registered_at: Time,
}

/// A page of containers, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Containers {
    pub(crate) containers: Vec<ShownContainer>,
    /// `after` for the next page; null when there is none.
    pub(crate) next: Option<String>,
}

/// An endpoint to register.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEndpoint {
    pub(crate) name: String,
    /// The CURVE key its manager connects with: 40 characters of Z85.
    pub(crate) public_key: String,
    /// Its id, if it has one already.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) endpoint_id: Option<EndpointId>,
    /// For people.
    pub(crate) description: Option<String>,
}

/// What a manager needs to connect.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointMade<'a> {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) endpoint_id: Text<EndpointId>,
    /// The key it must find there (Z85).
    pub(crate) service_key: &'a str,
    /// Where to connect, as `host:port`.
    pub(crate) zmq: &'a str,
    /// Its user, for whom alone it runs calls while its functions are in no sandbox.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) owner: Text<UserId>,
}

/// What is known of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Endpoint {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) endpoint_id: Text<EndpointId>,
    pub(crate) name: String,
    pub(crate) description: String,
    /// Its key in Z85: it proves who it is with it, and what is sealed to it only it can open. Absent while it is revoked, and of endpoints of Globus Compute, which have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public_key: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) registered_at: Time,
    /// `online` or `offline`.
    pub(crate) status: &'static str,
    /// Why it can do less than it should; absent while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) degraded: Option<String>,
}

/// A page of endpoints, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Endpoints {
    pub(crate) endpoints: Vec<Endpoint>,
    /// `after` for the next page; null when there is none.
    pub(crate) next: Option<String>,
}

/// Workers that run in one container.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WarmWorkers {
    /// Absent: the endpoint's own environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) container: Option<Text<ContainerId>>,
    pub(crate) workers: u32,
    /// Of these, without a call.
    pub(crate) idle: u32,
}

impl WarmWorkers {
    pub(crate) fn of(warm: Warm) -> Self {
        Self { container: warm.container.map(Text), workers: warm.warm, idle: warm.free }
    }
}

/// Blocks that an endpoint asked its provider for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlockCounts {
    pub(crate) running: u32,
    pub(crate) waiting: u32,
    /// Most at once.
    pub(crate) most: u32,
    /// What those that wait wait for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl BlockCounts {
    pub(crate) fn of(blocks: Blocks) -> Self {
        let Blocks { running, waiting, most, reason } = blocks;
        Self { running, waiting, most, reason }
    }
}

/// How an endpoint is now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointState {
    /// `online` or `offline`.
    pub(crate) status: &'static str,
    /// Since when; absent when it was not seen since the service started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) since: Option<Time>,
    pub(crate) host: String,
    pub(crate) software: String,
    pub(crate) python: String,
    pub(crate) slots_total: u32,
    pub(crate) slots_free: u32,
    /// Its workers that run, by container.
    pub(crate) warm: Vec<WarmWorkers>,
    /// Why it can do less than it should; absent while all is well. Its tasks wait for as long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) degraded: Option<String>,
    /// What it has asked its provider for; absent where that is always the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blocks: Option<BlockCounts>,
    /// Tasks waiting in the service for it.
    pub(crate) queued: usize,
    /// Attempts it holds.
    pub(crate) held: usize,
}

/// Tasks to submit together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTasks {
    /// Their group; made when absent.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) group_id: Option<GroupId>,
    pub(crate) tasks: Vec<NewTask>,
}

/// A call to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTask {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) function_id: FunctionId,
    #[schema(value_type = String, format = "uuid")]
    pub(crate) endpoint_id: EndpointId,
    /// The serialized `(args, kwargs)`: base64 in JSON, `bin` in msgpack.
    #[schema(value_type = String, format = Byte)]
    pub(crate) args: Data,
    /// The task's id: makes submitting idempotent; made when absent.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) task_id: Option<TaskId>,
    /// Lost executions that had started and are run again; default 2.
    pub(crate) retries: Option<u32>,
    /// User exceptions after which the task is run again; default 0.
    pub(crate) retry_on_error: Option<u32>,
    /// Longest run of one execution in seconds.
    pub(crate) timeout: Option<f64>,
    /// Seconds from submit after which the task ends whatever happens; default 14 days.
    pub(crate) deadline: Option<f64>,
    /// The result of an equal call of yours may be this one's, and this one's that of later ones; default false.
    pub(crate) memoize: Option<bool>,
    /// The container to call it in, or `raw` for the endpoint's own environment; default: what the function says.
    #[schema(value_type = Option<String>)]
    pub(crate) container: Option<Place>,
    /// What it needs of a node; default: one slot.
    #[schema(value_type = Option<AskedResources>)]
    pub(crate) resources: Option<Asks>,
}

/// Accepted: on disk.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Submitted {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) group_id: Text<GroupId>,
    /// In the order of the request.
    #[schema(value_type = Vec<String>)]
    pub(crate) task_ids: Vec<Text<TaskId>>,
}

/// Tasks to look at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetTasks {
    /// At most 1,000.
    #[schema(value_type = Vec<String>)]
    pub(crate) task_ids: Vec<TaskId>,
    /// Seconds to wait until all have ended, at most 50.
    pub(crate) wait: Option<f64>,
}

/// Tasks to cancel: these, or all of a group.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelTasks {
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) task_ids: Option<Vec<TaskId>>,
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) group_id: Option<GroupId>,
}

/// Where cancelled tasks stand: some may have ended otherwise before.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cancelled {
    pub(crate) tasks: Vec<CancelledTask>,
}

/// The end of one task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CancelledTask {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) task_id: Text<TaskId>,
    #[schema(value_type = String)]
    pub(crate) state: TaskState,
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Task {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) task_id: Text<TaskId>,
    #[schema(value_type = String, format = "uuid")]
    pub(crate) group_id: Text<GroupId>,
    #[schema(value_type = String, format = "uuid")]
    pub(crate) function_id: Text<FunctionId>,
    #[schema(value_type = String, format = "uuid")]
    pub(crate) endpoint_id: Text<EndpointId>,
    /// The container it is called in; absent: the endpoint's own environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) container: Option<Text<ContainerId>>,
    /// What it needs of a node; absent: one slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<AskedResources>)]
    pub(crate) resources: Option<Asks>,
    /// `received`, `waiting-for-ep`, `waiting-for-nodes`, `waiting-for-launch`, `running`, `success`, `failed` or
    /// `cancelled`.
    #[schema(value_type = String)]
    pub(crate) state: TaskState,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) submitted_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended_at: Option<Time>,
    /// The serialized result of a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Byte)]
    pub(crate) result: Option<Data>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TaskFailure>)]
    pub(crate) failure: Option<Failure>,
    /// The serialized exception of a `user-error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Byte)]
    pub(crate) exception: Option<Data>,
    /// The last bytes it wrote to stdout and stderr.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Byte)]
    pub(crate) output: Option<Data>,
    /// Run time of its last execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timings: Option<TaskTimings>,
    /// Executions that had started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) starts: Option<u32>,
    /// `hit`: its result is that of an earlier call, and it was sent nowhere; `stored`: later calls may have its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memo: Option<&'static str>,
}

/// What the user has of memoized results.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemoState {
    /// How many.
    pub(crate) entries: u64,
    /// Bytes of them, and 256 for each.
    pub(crate) bytes: u64,
    /// Tasks that had one so far.
    pub(crate) hits: u64,
}

/// Memoized results that were removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemoCleared {
    pub(crate) removed: usize,
}

/// Why a task waits, or how it ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explained {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) task_id: Text<TaskId>,
    #[schema(value_type = String, format = "uuid")]
    pub(crate) endpoint_id: Text<EndpointId>,
    pub(crate) endpoint_name: String,
    #[schema(value_type = String)]
    pub(crate) state: TaskState,
    /// `accepting`, `store-failing`, `endpoint-offline`, `endpoint-degraded`, `endpoint-settling`, `endpoint-busy`,
    /// `loading`, `no-node`, `no-worker`, `running`, `charging`, `ending`; the state of an ended task.
    pub(crate) reason: &'static str,
    /// One sentence for people.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) next: String,
    /// Since when it runs, or its endpoint is offline.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) since: Option<Time>,
    /// Tasks before it in the queue of its endpoint; absent also when they are more than 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ahead: Option<usize>,
    /// How its endpoint is, while the task is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<EndpointState>,
    /// What it has been charged so far, while it is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) charges: Option<Charges>,
    /// When it ends whatever happens, while it is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) deadline: Option<Time>,
    /// Where it is at its endpoint, while that has it and says so within a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<TaskPlace>,
    /// Executions that are known to have started.
    pub(crate) starts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended_at: Option<Time>,
    /// Run time of its last execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timings: Option<TaskTimings>,
    /// How it ended; of a live task, why it was queued again last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TaskFailure>)]
    pub(crate) failure: Option<Failure>,
    /// The last lines that it printed, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_lines: Option<String>,
}

/// Where a live task is at its endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskPlace {
    /// The executor that has it; absent: none has it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) executor_id: Option<Text<ExecutorId>>,
    /// The node of that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    /// The block of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) block_id: Option<Text<BlockId>>,
    /// Why routing put it there, or what it waits for.
    pub(crate) why: String,
}

/// What a live task has been charged, and what it may be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Charges {
    /// Lost executions that count.
    pub(crate) losses: u32,
    /// How many may.
    pub(crate) retries: u32,
    /// Lost executions of which nobody knows whether they had started: the first three are free.
    pub(crate) unknown_starts: u32,
    /// User exceptions that count.
    pub(crate) errors: u32,
    /// How many may.
    pub(crate) retry_on_error: u32,
}

/// Why a task failed: the schema of the core's `Failure`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskFailure {
    /// Stable, such as `user-error` or `worker-died`.
    code: String,
    /// What happened, why, and what to do next.
    message: String,
    /// The exception's class as `module.Class`.
    class: Option<String>,
    traceback: Option<String>,
    /// The signal that ended the worker.
    signal: Option<i32>,
    /// The exit code that the worker left with.
    exit: Option<i32>,
    /// The worker was ended for its use of memory.
    oom: Option<bool>,
    /// Most memory that the worker had, in KiB.
    peak_rss_kb: Option<u64>,
    /// How much it could have at most, in KiB.
    memory_limit_kb: Option<u64>,
    /// The node on which it ran.
    host: Option<String>,
    /// Which execution of the task this was: the first is 1; 0 if none is known to have started.
    attempt: Option<u32>,
}

/// Tasks, in the order of the request or newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tasks {
    pub(crate) tasks: Vec<Task>,
    /// Those that did not fit into this answer: ask for them next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) left: Vec<Text<TaskId>>,
}

/// A page of tasks without payloads, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskPage {
    pub(crate) tasks: Vec<Task>,
    /// `after` for the next page; null when there is none.
    pub(crate) next: Option<String>,
}

/// Where people log in for this service.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Logins<'a> {
    /// In the order of the service's configuration; none: Bursa's own tokens only.
    pub(crate) providers: Vec<Login<'a>>,
}

/// A provider of identity, as a program needs it that logs in for its user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Login<'a> {
    /// `oidc` or `globus`.
    pub(crate) kind: &'static str,
    /// Its `/.well-known/openid-configuration` says where its parts are.
    pub(crate) issuer: &'a str,
    /// The public client to be there.
    pub(crate) client_id: &'a str,
    /// What to ask for.
    pub(crate) scopes: &'a [String],
    /// The resource (RFC 8707) to ask for, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<&'a str>,
}

/// A workload's token to be exchanged, as RFC 8693 has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    /// `urn:ietf:params:oauth:grant-type:token-exchange`.
    pub(crate) grant_type: String,
    /// The workload's token, a JWT.
    pub(crate) subject_token: String,
    /// `urn:ietf:params:oauth:token-type:jwt`, `:id_token` or `:access_token`.
    pub(crate) subject_token_type: String,
    /// `urn:ietf:params:oauth:token-type:access_token`, if anything.
    pub(crate) requested_token_type: Option<String>,
    /// Scopes between blanks: less than the rule gives.
    pub(crate) scope: Option<String>,
}

/// A token of Bursa's for a workload.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Exchanged {
    pub(crate) access_token: String,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    pub(crate) issued_token_type: &'static str,
    /// `Bearer`.
    pub(crate) token_type: &'static str,
    /// Seconds.
    pub(crate) expires_in: u64,
    /// Scopes between blanks.
    pub(crate) scope: String,
}

/// Lines of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditLines {
    /// Each with `n`, `at`, `user`, `name`, `token`, `from`, `action`, `object`, `tasks`, `status`, `code`, `request`, `prev`
    /// and `hash`, as far as there are such.
    pub(crate) entries: Vec<serde_json::Value>,
    /// Where the next page begins; null: nothing is left.
    pub(crate) next: Option<String>,
}
