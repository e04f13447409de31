//! Every bound of the system, each with its reason. Nothing grows without one of these.

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Tasks in one submit: a request of this size is decoded in a few milliseconds, so it delays nobody.
pub const BATCH_TASKS: usize = 10_000;
/// Bytes in one submit: as large as the largest single payload, so that one such task always fits.
pub const BATCH_BYTES: usize = 64 * MIB;
/// Task ids in one listing of a whole group, where its client knows no pages.
pub const GROUP_LISTING: usize = 100_000;
/// AMQP connections at once, of clients that read results.
pub const AMQP_CONNECTIONS: usize = 1_024;
/// Channels of one AMQP connection.
pub const AMQP_CHANNELS: u16 = 64;
/// Groups that one AMQP connection follows: each costs a read when a result of its user comes.
pub const AMQP_CONSUMERS: usize = 256;
/// Results sent by AMQP and not acknowledged, by consumer: clients acknowledge twice a second.
pub const AMQP_UNACKED: usize = 4 * BATCH_TASKS;
/// Passwords for AMQP that are valid at once: the oldest makes room.
pub const AMQP_PASSWORDS: usize = 10_000;
/// Groups of which it is remembered how far their results were taken; beyond, their results come again.
pub const AMQP_CURSORS: usize = 100_000;
/// Consumers of one group that broke off and are not gone on with yet.
pub const AMQP_BROKEN: usize = 16;
/// Attempts that an endpoint of Globus Compute is believed to hold: one page of a `Hello` names them all.
pub const FOREIGN_CALLS: usize = 8_192;
/// Of these, at one of its user endpoints: it acknowledges what it has not run, and loses that when it is killed.
pub const FOREIGN_AHEAD: u32 = 1_024;
/// User endpoints of one endpoint: one for each user, options and Python.
pub const FOREIGN_ENDS: usize = 1_024;
/// Orders that wait for one of its connections: all that it may hold, and the confirmations of as many.
pub const FOREIGN_ORDERS: usize = 2 * FOREIGN_CALLS;
/// What connections said that waits for their managers; behind it they are not read.
pub const FOREIGN_HEARD: usize = 256;
/// Messages of the hub that wait for such managers: the windows of 64; beyond, sessions begin anew.
pub const FOREIGN_OF_HUB: usize = 4_096;
/// A message of such an endpoint: the largest result, and what JSON adds to its lines.
pub const FOREIGN_MESSAGE_BYTES: usize = RESULT_BYTES + RESULT_BYTES / 8;
/// A connection that is lost comes again within 10 s: after this time without one a user endpoint is gone.
pub const FOREIGN_GONE_MS: u64 = 15_000;
/// One HTTP request body or WebSocket message: a full batch in base64 with its JSON around it.
pub const REQUEST_BYTES: usize = 96 * MIB;
/// Arguments of one task, serialized.
pub const PAYLOAD_BYTES: usize = 64 * MIB;
/// Result of one task, serialized.
pub const RESULT_BYTES: usize = 64 * MIB;
/// Payloads up to this size live in the store's row; larger ones in files of their own (a row is rewritten whole).
pub const INLINE_BYTES: usize = 64 * KIB;
/// Payload files written side by side: what waits for the disk overlaps, and no more than this many wait at once.
pub const PAYLOAD_THREADS: usize = 4;
/// Payloads of files just written that are kept for who reads them next, as a rule at once: a few of those that are large
/// and common, so that none of them costs an idle service much.
pub const RECENT_BYTES: usize = 8 * MIB;
/// Arguments up to this size stay in the hub's memory while queued; larger ones are read back when sent.
pub const HELD_BYTES: usize = 4 * KIB;
/// One function body.
pub const FUNCTION_BYTES: usize = 16 * MIB;
/// Function name and description: for people, indexed.
pub const NAME_BYTES: usize = 256;
/// Where a container's image is: a name or a path. Each message repeats it once, and what an endpoint holds may have one each.
pub const LOCATION_BYTES: usize = KIB;
/// Longest time that a container may take to start, its image pulled: a day.
pub const CONTAINER_START_MS: u64 = 86_400_000;
/// Free text such as a description.
pub const TEXT_BYTES: usize = 16 * KIB;
/// Tail of a task's stdout and stderr kept with its record.
pub const OUTPUT_BYTES: usize = 64 * KIB;
/// Message, class and traceback of a failure, together: tracebacks of deep recursions are cut in the middle.
pub const FAILURE_BYTES: usize = 128 * KIB;
/// Message of the last loss of a live task, kept in memory: one sentence, not a traceback.
pub const LOSS_BYTES: usize = KIB;
/// Rows in one page of a listing.
pub const PAGE_ROWS: usize = 1_000;
/// Longest wait of one long-poll: below the 60 s after which many proxies cut a silent request.
pub const LONG_POLL_MS: u64 = 50_000;

/// HTTP connections whose user is not known yet: a flood of them takes neither memory nor descriptors from users.
pub const HTTP_NEWCOMERS: usize = 1_024;
/// Time for the head of an HTTP request, and the longest pause between two requests on one connection.
pub const HTTP_HEAD_MS: u64 = 30_000;
/// Seconds of a rate that may come at once: who was silent for so long catches up, and nobody is held up by a burst.
pub const RATE_BURST_S: u64 = 10;
/// Users and addresses whose rate is kept; those that asked for nothing lately are forgotten first.
pub const RATE_BUCKETS: usize = 100_000;
/// Entries that wait for the audit log: beyond it, as behind a full disk, they are counted only.
pub const AUDIT_ENTRIES: usize = 65_536;
/// So many are written at once, at the latest.
pub const AUDIT_BATCH: usize = 1_024;
/// An entry waits so long for others: a lone submit wakes nobody, and the log is behind by no more than a power cut explains.
pub const AUDIT_LINGER_MS: u64 = 200;
/// Of refused connections of endpoints from one address, a line of the audit log in so many milliseconds: the rest is counted.
pub const AUDIT_REFUSALS_MS: u64 = 60_000;
/// Addresses with refused connections that have lines of their own at a time, and refusals that wait to be recorded.
pub const AUDIT_REFUSED: usize = 1_024;
/// A file of the audit log; then another begins.
pub const AUDIT_FILE_BYTES: u64 = 64 * MIB as u64;
/// The head of an HTTP request, and how much of its body is read at once: a thousand strangers take 64 MiB.
pub const HTTP_HEAD_BYTES: usize = 64 * KIB;
/// Payload bytes in one answer of a listing: further tasks are left for the next request.
pub const ANSWER_BYTES: usize = RESULT_BYTES;
/// Time for a client to take one message of its stream: then it counts as gone, and no memory is held for it.
pub const STREAM_SEND_MS: u64 = 60_000;
/// Tasks counted ahead of one that waits for its turn, when its user asks: a walk through the queue of about a millisecond.
pub const EXPLAIN_STEPS: usize = 10_000;

/// Tasks of all submits that wait for their answer: beyond it new ones are told to come again, so that a slow store fills
/// no memory.
pub const INTAKE_TASKS: usize = BACKLOG_ROWS;
/// Bytes of arguments of all submits that wait for their answer.
pub const INTAKE_BYTES: usize = 4 * BATCH_BYTES;
/// Who is told to come again is told to wait this long first.
pub const RETRY_AFTER_S: u64 = 1;
/// Submits of one stream that wait for their answer.
pub const STREAM_SUBMITS: usize = 64;
/// Groups that one stream follows: each may cost a look into the store when it is subscribed.
pub const STREAM_GROUPS: usize = 10_000;
/// Rows waiting for the store beyond which the service takes nothing new in: a slow store slows its clients.
pub const BACKLOG_ROWS: usize = 8 * BATCH_TASKS;
/// Functions, containers and endpoints whose owner is kept in memory, each; a full cache is emptied.
pub const CACHED_OWNERS: usize = 100_000;
/// Tokens whose user is kept in memory; a full cache is emptied.
pub const CACHED_TOKENS: usize = 10_000;

/// The last use of a token is written when the one written is this old: a busy token costs one write a minute.
pub const TOKEN_USE_MS: u64 = 60_000;
/// Groups that an issuer may say somebody is in: more than people are in.
pub const IDENTITY_GROUPS: usize = 1_000;
/// Names with which one thing is shared: more are a group.
pub const SHARES: usize = 1_000;
/// Functions in a list of those that an endpoint, or a share of it, allows.
pub const ALLOWED_FUNCTIONS: usize = 10_000;
/// The latest end that a token may be given: ten years.
pub const TOKEN_SECONDS: u64 = 10 * 366 * 24 * 3_600;
/// What an identity provider said of a token, and its keys, count for this long at most: so long does one that was revoked
/// there still work here.
pub const IDENTITY_KEPT_MS: u64 = 300_000;
/// That a token is refused is kept this long: whoever repeats it asks its provider once.
pub const IDENTITY_REFUSED_MS: u64 = 10_000;
/// Between two looks for a key that an issuer's set does not have: tokens with invented keys cost it one question.
pub const IDENTITY_UNKNOWN_KEY_MS: u64 = 10_000;
/// A provider that gave no answer is left alone for this long.
pub const IDENTITY_DOWN_MS: u64 = 1_000;
/// Time for an answer of a provider: a user waits for it.
pub const IDENTITY_ANSWER_MS: u64 = 5_000;
/// An answer of a provider: sets of keys are the largest.
pub const IDENTITY_ANSWER_BYTES: usize = 256 * KIB;
/// Keys of one issuer.
pub const IDENTITY_KEYS: usize = 64;
/// A token of a provider, as some put all groups of a user into it.
pub const IDENTITY_TOKEN_BYTES: usize = 16 * KIB;
/// How far a provider's clock may be ahead of this one's.
pub const IDENTITY_SKEW_MS: u64 = 30_000;
/// Questions to providers at once: each has a thread.
pub const IDENTITY_ASKS: usize = 16;
/// Longest life of a token that a workload gets for its own: a day.
pub const EXCHANGED_TOKEN_S: u64 = 86_400;

/// From a login's page to the program that asked for it: a person carries the code over.
pub const LOGIN_CODE_MS: u64 = 60_000;
/// Codes of logins that are valid at once: the oldest makes room.
pub const LOGIN_CODES: usize = 1_024;
/// Life of a login's token without renewals: two days, as Globus Auth has it.
pub const LOGIN_S: u64 = 2 * 86_400;
/// And of one with them: a quarter of a year, after which its user is asked again.
pub const LOGIN_OFFLINE_S: u64 = 90 * 86_400;
/// Logins of one user: programs on more machines share a token store, or have tokens that are made for them.
pub const LOGINS: usize = 100;
/// Scopes, or what a program has the redirect carry back to it, in a login's request.
pub const LOGIN_FIELD_BYTES: usize = 2 * KIB;
/// A form of a login: a token or a code, and what it belongs to.
pub const LOGIN_FORM_BYTES: usize = 64 * KIB;

/// Secrets of one user: more than anybody keeps apart.
pub const SECRETS: usize = 100;
/// Longest name of a secret.
pub const SECRET_NAME_BYTES: usize = 64;
/// One secret: a key or a certificate with its chain, not data.
pub const SECRET_BYTES: usize = 32 * KIB;
/// All secrets of one call, names and values: each assignment carries them, and the system takes no larger environments.
pub const CALL_SECRETS_BYTES: usize = 64 * KIB;
/// A shorter value is not looked for in output: it would be found everywhere.
pub const MASK_LEAST_BYTES: usize = 4;
/// Values and lines of values that one worker's output is searched for: those of several calls; the oldest make room.
pub const MASKS_BYTES: usize = 8 * CALL_SECRETS_BYTES;
/// Functions that one secret is granted to, and endpoints that one grant names.
pub const SECRET_GRANTS: usize = 1_000;
/// Secrets kept in the hub's memory, opened: those of a hundred functions at least.
pub const SECRETS_KEPT_BYTES: usize = 100 * CALL_SECRETS_BYTES;

/// What an entry of the memo counts beside its result: its row and index entries, so that tiny results have a bound too.
pub const MEMO_ENTRY_BYTES: u64 = 256;
/// A memoized result's last use is written when it is known to be this old: a hit costs no write of its own.
pub const MEMO_USED_MS: i64 = 3_600_000;
/// Bytes of memoized results that one submit takes into rows; beyond them its tasks run.
pub const MEMO_HIT_BYTES: usize = BATCH_BYTES;
/// Cores, accelerators, nodes or ranks that one call may ask for: more than any allocation has.
pub const RESOURCE_COUNT: u32 = 1 << 20;
/// Memory of a node that one call may ask for, in MB: a pebibyte.
pub const RESOURCE_MEMORY_MB: u64 = 1 << 30;

/// Memoized results that one write removes when a user clears his: a few milliseconds.
pub const MEMO_CLEAR_ROWS: usize = 1_024;

/// Events a driver handles before it performs the actions: one commit and one message per peer per round.
pub const ROUND_EVENTS: usize = 1_024;
/// Items in one message between processes.
pub const BATCH_ITEMS: usize = 4_096;
/// Payload bytes after which a message between processes is closed; one item always fits.
pub const MESSAGE_BYTES: usize = 2 * MIB;
/// Larger payloads travel in parts of this size, so that a heartbeat waits behind one part at most. A mebibyte of data,
/// pickled, is one part, which nobody has to put together.
pub const PART_BYTES: usize = MIB + 64 * KIB;
/// Payloads above this size are frames of their own (not copied into the item list).
pub const FRAME_BYTES: usize = 4 * KIB;
/// Largest frame accepted from a peer: a message's payload, and room for its items.
pub const LINK_FRAME_BYTES: usize = 4 * MIB;
/// Frames in one message accepted from a peer: one per item and the two heads.
pub const LINK_FRAMES: usize = BATCH_ITEMS + 2;
/// Payloads under reassembly in one session, in bytes: two of the largest.
pub const PARTS_BYTES: usize = 2 * PAYLOAD_BYTES + MIB;
/// Payloads under reassembly in one session: many tiny ones must cost no more than `PARTS_BYTES`.
pub const PARTS_STREAMS: usize = 256;
/// Messages beyond the peer's acknowledgement (F27).
pub const WINDOW: u64 = 64;
/// Messages libzmq may hold per connection: a net below the window (FABRIC §3).
pub const HIGH_WATER: i32 = 4 * 64;
/// Items said and unsent beyond which a peer counts as one that does not take what it is sent (F27): more than all
/// acknowledgements and orders that its holdings can call for, twice.
pub const OUTBOX_ITEMS: usize = 4 * CREDIT_TASKS;
/// Frames of at least this size are opened where they stay when they come on a bulk connection: below, a copy costs less
/// than a read of its own.
pub const BULK_BYTES: usize = 32 * KIB;
/// Largest message on a bulk connection: a full message, its items and one payload beyond the bound that closes it.
pub const BULK_MESSAGE_BYTES: usize = 2 * LINK_FRAME_BYTES;
/// Bytes that are encrypted and sent at once on a bulk connection: the peer decrypts one piece while the next is made.
pub const BULK_PIECE_BYTES: usize = 128 * KIB;
/// Bulk connections whose peer is not proven yet: a flood of them takes neither memory nor descriptors from links.
pub const BULK_NEWCOMERS: usize = 64;
/// Between two tries to make a bulk connection from one process to one acceptor: where something on the way breaks them,
/// at most one session is lost in this time.
pub const BULK_PAUSE_MS: u64 = 60_000;
/// Connections that an acceptor tells apart: twice the endpoints, so that every endpoint may be reconnecting.
pub const CONNECTIONS: usize = 2 * ENDPOINTS;
/// What nobody waits for waits this long for a message that leaves anyway (F39): longer than a quick call takes from end to
/// end, shorter than anybody notices.
pub const LINGER_MS: u64 = 10;
/// The result of a quick call waits at most this long for others, and only while more calls wait for a worker (F39).
pub const RESULT_LINGER_MS: u64 = 5;
/// So many items of either leave at once: a message is cheap by then.
pub const LINGER_ITEMS: usize = 64;
/// Strays answered per second by a manager: more would let a confused peer keep it busy (F2).
pub const STRAY_RESETS: u32 = 100;
/// Function hashes listed in a `Hello`.
pub const HELLO_HASHES: usize = 1_024;
/// Function hashes remembered per session; beyond it bodies are simply sent again.
pub const SESSION_HASHES: usize = 16 * HELLO_HASHES;
/// Holdings in one page of `Hello` or `Held`: twice the largest credit takes 48 pages, fewer than may leave before the peer
/// has acknowledged any (F27), and a page is a third of a message.
pub const HELD_PAGE: usize = 8_192;
// All pages leave before `Welcome`, in one window: a larger `Hello` would never be whole.
const _: () = assert!(((2 * CREDIT_TASKS).div_ceil(HELD_PAGE) as u64) < WINDOW);

/// Attempts that one endpoint may hold beyond one per worker: more feed no worker better, and each takes memory three times.
pub const PREFETCH_TASKS: usize = 65_536;
/// Attempts one endpoint may hold: its credit is cut to this (F29). One for each worker of the largest, and those ahead.
pub const CREDIT_TASKS: usize = 131_072 + PREFETCH_TASKS;
/// Argument bytes one endpoint may hold.
pub const CREDIT_BYTES: usize = 256 * MIB;
/// Attempts offered per slot beyond the running one: keeps a worker busy over one round trip to the service.
pub const PREFETCH_PER_SLOT: usize = 512;
/// Result bytes an executor may hold unacknowledged before it starts no further call (F28).
pub const RESULT_WINDOW: usize = 64 * MIB;
/// Result bytes unacknowledged from all executors of a manager together: each gets its share as its window (F28).
pub const RESULT_BUFFER: usize = 16 * RESULT_WINDOW;
/// Leases of attempts that are not current, kept for one endpoint from session to session.
pub const STRAYS: usize = 2 * CREDIT_TASKS;
/// Acknowledgements that wait for one task's write. More are repeated by their holders (F20).
pub const OWED_ACKS: usize = 64;
/// Calls in one worker's pipe at most: 1 running and the rest waiting.
pub const WORKER_DEPTH: usize = 64;
/// Time of work in a worker's pipe beyond the running call: bounds how long a task is stuck behind others. With calls of
/// 1 ms the worker and its executor wake each other once for four of them.
pub const WORKER_PIPE_NS: u64 = 4_000_000;
/// From withholding calls to reading which of them had begun: a store of one processor is visible to all others far
/// sooner, so worker and executor need no fence between a store of their own and a read of the other's.
pub const RECALL_MS: u64 = 10;
/// One frame on a worker's socket: a result, its output and failure texts.
pub const WORKER_FRAME_BYTES: usize = RESULT_BYTES + MIB;
/// Bytes that each end of a worker's socket may have in the system, if it grants them (many grant 208 KiB, and count
/// their own use): a large payload then passes with a few wake-ups of both processes instead of a dozen.
pub const WORKER_SOCKET_BYTES: usize = MIB;
/// Bytes that may wait for one worker's socket: all that one endpoint may hold. More is a bug or a stuck worker.
pub const WORKER_QUEUE_BYTES: usize = CREDIT_BYTES + BODY_CACHE_BYTES;
/// Calls with resources of their own that a manager looks at in one round, the oldest first: so many may be placed before
/// an older one whose place is not free yet.
pub const FIT_AHEAD: usize = 64;
/// Workers of one executor.
pub const WORKERS: usize = 1_024;
/// Containers whose warm workers one peer may list.
pub const WARM_CONTAINERS: usize = 1_024;
/// Executors of one endpoint.
pub const EXECUTORS: usize = 4_096;
/// Bytes of function bodies cached by manager or executor beyond those that held attempts need (F35).
pub const BODY_CACHE_BYTES: usize = 256 * MIB;

/// Queued and held tasks of the whole service: about 400 bytes each in memory.
pub const LIVE_TASKS: usize = 10_000_000;
/// Endpoints of one service.
pub const ENDPOINTS: usize = 100_000;
/// Retries asked for one task, at most.
pub const RETRIES: u32 = 1_000;
/// Retries of a task that does not say (lost executions that had started).
pub const DEFAULT_RETRIES: u32 = 2;
/// Losses whose start is unknown that are free of charge (FABRIC §6).
pub const MAYBE_STARTED: u32 = 3;
/// Deadline of a task that does not say: 14 days.
pub const DEFAULT_DEADLINE_MS: u64 = 14 * 24 * 3_600_000;
/// The latest deadline a task may ask for: 90 days.
pub const DEADLINE_MS: u64 = 90 * 24 * 3_600_000;
/// Tasks at once of which endpoints are asked where they are; of more it is not told. People ask, one by one.
pub const QUESTIONS: usize = 256;
/// An endpoint that has not said by then where a task is need not be waited for.
pub const QUESTION_MS: u64 = 1_000;
/// Time between SIGTERM and SIGKILL for a task that must stop.
pub const GRACE_MS: u64 = 2_000;
/// For a connection, its handshake, the pages of `Hello` and `Welcome`, each (FABRIC §7); then a new socket is made.
pub const CONNECT_MS: u64 = 5_000;
/// First and longest back-off of a manager before it connects to the service again (FABRIC §7).
pub const HUB_BACKOFF_MS: (u64, u64) = (100, 5_000);
/// First and longest back-off of an executor before it connects to its manager again (FABRIC §7).
pub const MANAGER_BACKOFF_MS: (u64, u64) = (50, 1_000);
/// First and longest back-off between two requests to a provider whose blocks end at their start.
pub const BLOCK_BACKOFF_MS: (u64, u64) = (100, 10_000);
/// First and longest pause between two questions to a scheduler about blocks that wait: a start is told by its executors
/// themselves, so that a question only finds out for what they wait, and one in half a minute troubles no scheduler.
pub const ASK_MS: (u64, u64) = (1_000, 30_000);
/// A block gets no new calls in this last part of its walltime, or in its last tenth: what runs may finish.
pub const BLOCK_DRAIN_MS: u64 = 60_000;
/// Calls that still run so long before the end of their block are stopped, so that their end can be reported.
pub const BLOCK_END_MS: u64 = 3_000;
/// A manager that stops is done so long after the grace of running calls, acknowledged or not: the next `Hello` tells
/// the truth (F9).
pub const STOP_SLACK_MS: u64 = 1_500;
/// An executor that was lost by its silence and does not return is ended after this: long enough for a node that swaps
/// or a network that is mended, short enough that a stuck process does not keep a node for ever.
pub const SILENT_MS: u64 = 60_000;
/// One that returns when its place is taken may finish what it runs for so long.
pub const SURPLUS_MS: u64 = 3_600_000;
/// First and longest back-off of an executor whose workers cannot be started.
pub const SPAWN_BACKOFF_MS: (u64, u64) = (100, 10_000);
/// Workers, or blocks, that fail at their start in a row before their endpoint is degraded: a few seconds of trying, so
/// that a hiccup is ridden out and a broken environment does not keep a node, or a scheduler's queue, busy.
pub const RUNAWAY: u32 = 5;
/// First and longest time between two probes of a degraded endpoint: a repair is noticed soon, a lasting fault costs
/// nothing.
pub const PROBE_MS: (u64, u64) = (10_000, 300_000);
/// What a degraded endpoint says of its trouble: a sentence, and the last lines of what failed.
pub const TROUBLE_BYTES: usize = 2 * KIB;

/// How long to wait after so many starts in a row failed: `backoff` first and at most, then the probes of the guard.
#[must_use]
pub fn start_backoff_ms(backoff: (u64, u64), failures: u32) -> u64 {
    let (times, (first, most)) = match failures.checked_sub(RUNAWAY) {
        None => (failures.saturating_sub(1), backoff),
        Some(probes) => (probes, PROBE_MS),
    };
    first.saturating_mul(1 << times.min(16)).min(most)
}
/// Between two tries of a write that failed: long enough for a full disk's log not to fill it further.
pub const REWRITE_MS: u64 = 500;

/// Containers of which a manager knows how long their workers take to start: as many as an endpoint uses in weeks.
pub const CONTAINERS_KNOWN: usize = 1_024;
/// What a worker's start in a container is taken to last before one was seen: the slowest that funcX measured.
pub const START_NS: u64 = 10_000_000_000;
