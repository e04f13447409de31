use super::*;
use crate::provider::script::sample;

const BLOCK: BlockId = sample::BLOCK;

fn script(set: &[(&str, &str)]) -> String {
    sample::script(&Lsf, "lsf", set, "/home/a b/hpc.block.log")
}

#[test]
fn the_least_script() {
    assert_eq!(
        script(&[("workers", "4")]),
        "#!/bin/sh
# A block of the endpoint hpc: one executor on each of its nodes.
#BSUB -J bursa-b1b1b1b1-b1b1-b1b1-b1b1-b1b1b1b1b1b1
#BSUB -o /dev/null
#BSUB -n 1
#BSUB -R \"span[ptile=1]\"
#BSUB -W 1:00
#BSUB -rn
exec >>'/home/a b/hpc.block.log' 2>&1
export BURSA_WORKERS=4
export BURSA_EXECUTORS=1
export BURSA_PYTHON='/opt/py thon'
exec /opt/bursa --home /home/ada/.bursa executor --endpoint hpc --id 01010101-0101-0101-0101-010101010101
"
    );
}

#[test]
fn the_largest_script() {
    let set = [
        ("nodes_per_block", "2"),
        ("walltime", "1-12:30:05"),
        ("partition", "gpu"),
        ("account", "lab"),
        ("constraint", "type==x86"),
        ("gres", "num=2"),
        ("cores_per_node", "8"),
        ("mem_per_node", "16G"),
        ("scheduler_options", "#BSUB -x"),
        ("worker_init", "module load python"),
    ];
    assert_eq!(
        script(&set),
        "#!/bin/sh
# A block of the endpoint hpc: one executor on each of its nodes.
#BSUB -J bursa-b1b1b1b1-b1b1-b1b1-b1b1-b1b1b1b1b1b1
#BSUB -o /dev/null
#BSUB -n 2
#BSUB -R \"span[ptile=1] affinity[core(8)] rusage[mem=16G] select[type==x86]\"
#BSUB -W 36:31
#BSUB -q gpu
#BSUB -P lab
#BSUB -gpu \"num=2\"
#BSUB -rn
#BSUB -x
exec >>'/home/a b/hpc.block.log' 2>&1
module load python
BURSA_CORES=8
export BURSA_WORKERS=\"${BURSA_CORES:-0}\"
export BURSA_EXECUTORS=1
export BURSA_PYTHON='/opt/py thon'
mpiexec -n 2 sh -c 'shift \"${PMIX_RANK:-${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-0}}}\"; \
exec /opt/bursa --home /home/ada/.bursa executor --endpoint hpc --id \"$1\"' sh 01010101-0101-0101-0101-010101010101 \
02020202-0202-0202-0202-020202020202
"
    );
}

#[test]
fn what_bjobs_prints_is_read() {
    let name = job_name(BLOCK);
    let jobs = Lsf.jobs(&format!(
        "7|{name}|PEND|-|-|New job is waiting for scheduling;\n8|another|RUN|0:59 L|-|-\n\nnonsense\n\
         7|{name}|PSUSP|-|-|-\n7|{name}|RUN|1:59 L|-|-\n7|{name}|RUN|-|-|-\n7|{name}|EXIT|-|140|-\n7|{name}|DONE|-|-|-\n"
    )).unwrap();
    let states: Vec<JobState> = jobs.into_iter().map(|job| job.state).collect();
    assert_eq!(
        states,
        [
            JobState::Waiting("LSF job 7 is pending: New job is waiting for scheduling;".into()),
            JobState::Waiting("LSF job 7 is held".into()),
            JobState::Running(Some(7_140_000)),
            JobState::Running(None),
            JobState::Ended("LSF job 7 ended as EXIT with exit code 140".into()),
            JobState::Ended("LSF job 7 ended as DONE".into()),
        ]
    );
}

#[test]
fn the_number_of_a_job_is_read_or_what_came_instead_is_told() {
    assert_eq!(Lsf.submitted("Job <17> is submitted to queue <normal>.\n"), Ok("17".into()));
    assert_eq!(Lsf.submitted("Job <17> is submitted to default queue <normal>.\n"), Ok("17".into()));
    assert_eq!(Lsf.submitted("hello <17>\n"), Err("bsub printed no job's number but 'hello <17>'".into()));
}

#[test]
fn what_a_scheduler_does_not_have_is_refused() {
    for (name, value) in [("qos", "high"), ("launcher", "srun")] {
        let error = sample::try_config("lsf", &[(name, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("blocks.{name} = '{value}' (from environment)")), "{error}");
    }
}
