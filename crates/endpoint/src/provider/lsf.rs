//! LSF: the batch script, `bsub`, `bjobs` and `bkill`.

use super::scheduler::{Call, Job, JobState, Request, Scheduler, block_of, job_name, quoted};
use super::script;
use bursa_core::id::BlockId;
use std::fmt::Write as _;

/// The jobs of this user; that there are none is no failure.
const STATUS: &str =
    "said=$(bjobs -a -noheader -o \"jobid job_name stat time_left exit_code pend_reason delimiter='|'\" 2>&1)
code=$?
case $said in *'No job found'*|*'No unfinished job found'*) exit 0 ;; esac
[ $code = 0 ] || { printf '%s\\n' \"$said\" >&2; exit $code; }
printf '%s\\n' \"$said\"";

/// LSF, by its commands.
#[derive(Debug, Clone, Copy)]
pub struct Lsf;

impl Scheduler for Lsf {
    fn name(&self) -> &'static str {
        "LSF"
    }

    fn script(&self, request: &Request<'_>) -> String {
        let blocks = &request.config.blocks;
        let mut script = script::head(request);
        let minutes = blocks.walltime.as_secs().div_ceil(60);
        let walltime = format!("{}:{:02}", minutes / 60, minutes % 60);
        let quoted_if_any =
            |text: String| if text.is_empty() { String::new() } else { format!("\"{text}\"") };
        for (option, value) in [
            ("-J", job_name(request.block)),
            ("-o", "/dev/null".into()),
            ("-n", blocks.nodes.to_string()),
            ("-R", quoted_if_any(requirement(request))),
            ("-W", walltime),
            ("-q", blocks.partition.clone()),
            ("-P", blocks.account.clone()),
            ("-gpu", quoted_if_any(blocks.gres.clone())),
        ] {
            if !value.is_empty() {
                let _ = writeln!(script, "#BSUB {option} {value}");
            }
        }
        // A block that began anew by itself would bring executors back that are known to be gone.
        script.push_str("#BSUB -rn\n");
        if !blocks.options.is_empty() {
            let _ = writeln!(script, "{}", blocks.options);
        }
        // LSF would keep the output on the node until the end.
        let _ = writeln!(script, "exec >>{} 2>&1", quoted(&request.log.display().to_string()));
        if !blocks.worker_init.is_empty() {
            let _ = writeln!(script, "{}", blocks.worker_init);
        }
        if request.config.one_per_core && blocks.cores > 0 {
            let _ = writeln!(script, "BURSA_CORES={}", blocks.cores);
        }
        script + &script::environment(request, "BURSA_CORES") + &script::start(request, "$LSB_HOSTS")
    }

    fn submit(&self, script: String) -> Call {
        Call { stdin: script, ..Call::new(["bsub"]) }
    }

    fn submitted(&self, stdout: &str) -> Result<String, String> {
        let number = stdout.split_once("Job <").and_then(|(_, rest)| rest.split_once('>'));
        match number {
            Some((job, _)) if !job.is_empty() && job.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(job.to_owned())
            }
            _ => Err(format!("bsub printed no job's number but '{}'", stdout.trim())),
        }
    }

    fn status(&self) -> Call {
        Call::new(["sh", "-c", STATUS])
    }

    fn jobs(&self, stdout: &str) -> Result<Vec<Job>, String> {
        Ok(stdout.lines().filter_map(job).collect())
    }

    fn cancel(&self, jobs: &[&str]) -> Call {
        Call::new(["bkill"]).with(jobs)
    }

    fn cancel_unknown(&self, block: BlockId) -> Call {
        Call::new(["bkill", "-J", &job_name(block)])
    }
}

/// One slot on each node, and what else a node must have.
fn requirement(request: &Request<'_>) -> String {
    let blocks = &request.config.blocks;
    let mut parts = vec!["span[ptile=1]".to_owned()];
    if blocks.cores > 0 {
        parts.push(format!("affinity[core({})]", blocks.cores));
    }
    for (word, value) in [("rusage[mem=", &blocks.mem), ("select[", &blocks.constraint)] {
        if !value.is_empty() {
            parts.push(format!("{word}{value}]"));
        }
    }
    parts.join(" ")
}

/// A line of `bjobs`: ID|NAME|STATE|TIME LEFT|EXIT CODE|REASON, `-` where there is nothing to say.
fn job(line: &str) -> Option<Job> {
    let mut fields = line.trim().splitn(6, '|').map(str::trim);
    let mut next = || fields.next();
    let (job, name, state, left, code) = (next()?, next()?, next()?, next()?, next()?);
    let reason = next().filter(|reason| !matches!(*reason, "" | "-"));
    let why = reason.map_or(String::new(), |reason| format!(": {reason}"));
    let state = match state {
        "PEND" | "PROV" | "WAIT" => JobState::Waiting(format!("LSF job {job} is pending{why}")),
        "PSUSP" => JobState::Waiting(format!("LSF job {job} is held{why}")),
        "DONE" | "EXIT" | "ZOMBI" => {
            let code =
                if matches!(code, "" | "-") { String::new() } else { format!(" with exit code {code}") };
            JobState::Ended(format!("LSF job {job} ended as {state}{code}"))
        }
        _ => JobState::Running(milliseconds(left)),
    };
    Some(Job { block: block_of(name)?, job: job.to_owned(), state })
}

/// `HOURS:MINUTES`, with a letter behind that says whose limit it is.
fn milliseconds(left: &str) -> Option<u64> {
    let (hours, minutes) = left.split_whitespace().next()?.split_once(':')?;
    Some((hours.parse::<u64>().ok()? * 60 + minutes.parse::<u64>().ok()?) * 60_000)
}

#[cfg(test)]
#[path = "lsf_tests.rs"]
mod tests;
