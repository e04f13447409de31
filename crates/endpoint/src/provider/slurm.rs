//! Slurm: the batch script, `sbatch`, `squeue` and `scancel`.

use super::scheduler::{Call, Job, JobState, Request, Scheduler, block_of, job_name};
use super::script;
use bursa_core::id::BlockId;
use std::fmt::Write as _;

/// Slurm, by its commands.
#[derive(Debug, Clone, Copy)]
pub struct Slurm;

impl Scheduler for Slurm {
    fn name(&self) -> &'static str {
        "Slurm"
    }

    fn script(&self, request: &Request<'_>) -> String {
        let blocks = &request.config.blocks;
        let mut script = script::head(request);
        let seconds = blocks.walltime.as_secs();
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let walltime = format!("{days}-{:02}:{:02}:{:02}", rest / 3_600, rest % 3_600 / 60, rest % 60);
        let cores = if blocks.cores == 0 { String::new() } else { blocks.cores.to_string() };
        for (name, value) in [
            ("job-name", &*job_name(request.block)),
            ("output", &request.log.display().to_string()),
            ("nodes", &blocks.nodes.to_string()),
            ("ntasks-per-node", "1"),
            ("cpus-per-task", &cores),
            ("mem", &blocks.mem),
            ("time", &walltime),
            ("partition", &blocks.partition),
            ("account", &blocks.account),
            ("qos", &blocks.qos),
            ("constraint", &blocks.constraint),
            ("gres", &blocks.gres),
        ] {
            if !value.is_empty() {
                let _ = writeln!(script, "#SBATCH --{name}={}", escaped(value));
            }
        }
        // A block that began anew by itself would bring executors back that are known to be gone.
        script.push_str("#SBATCH --no-requeue\n");
        for part in [&blocks.options, &blocks.worker_init] {
            if !part.is_empty() {
                let _ = writeln!(script, "{part}");
            }
        }
        script
            + &script::environment(request, "SLURM_CPUS_ON_NODE")
            + &script::start(request, "$(scontrol show hostnames)")
    }

    fn submit(&self, script: String) -> Call {
        Call { stdin: script, ..Call::new(["sbatch", "--parsable"]) }
    }

    fn submitted(&self, stdout: &str) -> Result<String, String> {
        // With several clusters: ID;CLUSTER.
        let job = stdout.trim().split(';').next().unwrap_or_default();
        if !job.is_empty() && job.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(job.to_owned());
        }
        Err(format!("sbatch printed no job's number but '{}'", stdout.trim()))
    }

    fn status(&self) -> Call {
        Call::new(["squeue", "--me", "--noheader", "--states=all", "--format=%i|%j|%T|%L|%r"])
    }

    fn jobs(&self, stdout: &str) -> Result<Vec<Job>, String> {
        Ok(stdout.lines().filter_map(job).collect())
    }

    fn cancel(&self, jobs: &[&str]) -> Call {
        Call::new(["scancel"]).with(jobs)
    }

    fn cancel_unknown(&self, block: BlockId) -> Call {
        Call::new(["scancel", "--me", &format!("--name={}", job_name(block))])
    }
}

/// `sbatch` knows `\` and quotes in its lines.
fn escaped(value: &str) -> String {
    if value.contains([' ', '\\', '"', '\'', '#']) {
        return format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    }
    value.to_owned()
}

/// A line of `squeue`: ID|NAME|STATE|TIME LEFT|REASON.
fn job(line: &str) -> Option<Job> {
    let mut fields = line.trim().splitn(5, '|');
    let mut next = || fields.next();
    let (job, name, state, left, reason) = (next()?, next()?, next()?, next()?, next()?);
    let state = match state {
        "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => {
            JobState::Waiting(format!("Slurm job {job} is {}: {reason}", state.to_lowercase()))
        }
        "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT" | "RESIZING" => {
            JobState::Running(milliseconds(left))
        }
        _ => JobState::Ended(format!("Slurm job {job} ended as {state} ({reason})")),
    };
    Some(Job { block: block_of(name)?, job: job.to_owned(), state })
}

/// `[DAYS-][HH:]MM:SS`; `None` for UNLIMITED and what else there is.
fn milliseconds(left: &str) -> Option<u64> {
    let (days, time) = left.split_once('-').unwrap_or(("0", left));
    let parts = time.split(':').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    let seconds = parts.iter().fold(0, |sum, part| sum * 60 + part) + days.parse::<u64>().ok()? * 86_400;
    Some(seconds * 1_000)
}

#[cfg(test)]
#[path = "slurm_tests.rs"]
mod tests;
