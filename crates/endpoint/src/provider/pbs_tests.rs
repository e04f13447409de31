use super::*;
use crate::provider::script::sample;

const BLOCK: BlockId = sample::BLOCK;

fn script(set: &[(&str, &str)]) -> String {
    sample::script(&Pbs, "pbs", set, "/home/a b/hpc.block.log")
}

#[test]
fn the_least_script() {
    assert_eq!(
        script(&[("workers", "4")]),
        "#!/bin/sh
# A block of the endpoint hpc: one executor on each of its nodes.
#PBS -N bursa-b1b1b1b1-b1b1-b1b1-b1b1-b1b1b1b1b1b1
#PBS -j oe
#PBS -o /dev/null
#PBS -l select=1:mpiprocs=1
#PBS -l place=scatter
#PBS -l walltime=01:00:00
#PBS -r n
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
        ("constraint", "model=rome"),
        ("gres", "ngpus=2"),
        ("cores_per_node", "8"),
        ("mem_per_node", "16G"),
        ("scheduler_options", "#PBS -m n"),
        ("worker_init", "module load python"),
    ];
    assert_eq!(
        script(&set),
        "#!/bin/sh
# A block of the endpoint hpc: one executor on each of its nodes.
#PBS -N bursa-b1b1b1b1-b1b1-b1b1-b1b1-b1b1b1b1b1b1
#PBS -j oe
#PBS -o /dev/null
#PBS -l select=2:ncpus=8:mpiprocs=1:mem=16G:ngpus=2:model=rome
#PBS -l place=scatter
#PBS -l walltime=36:30:05
#PBS -q gpu
#PBS -A lab
#PBS -r n
#PBS -m n
exec >>'/home/a b/hpc.block.log' 2>&1
module load python
export BURSA_WORKERS=\"${NCPUS:-0}\"
export BURSA_EXECUTORS=1
export BURSA_PYTHON='/opt/py thon'
mpiexec -n 2 sh -c 'shift \"${PMIX_RANK:-${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-0}}}\"; \
exec /opt/bursa --home /home/ada/.bursa executor --endpoint hpc --id \"$1\"' sh 01010101-0101-0101-0101-010101010101 \
02020202-0202-0202-0202-020202020202
"
    );
}

#[test]
fn what_qstat_prints_is_read() {
    let name = job_name(BLOCK);
    let of = |state: &str| format!("Job Id: 12.server\n    Job_Name = {name}\n    job_state = {state}\n\n");
    let jobs = Pbs
        .jobs(&format!(
            "Job Id: 11.server\n    Job_Name = another\n    job_state = R\n\nnonsense\n{}{}{}{}{}",
            of("Q\n    comment = Not Running: Insufficient amount of resource: ncpus (R: 4 A\n\t: 2 T: 2)"),
            of("H"),
            of("R\n    resources_used.walltime = 00:00:50\n    Resource_List.walltime = 01:00:00"),
            of("R\n    Variable_List = A=B,\n\tC=D"),
            of("F\n    Exit_status = 271\n    comment = Job run at 10:00 and exceeded resource walltime"),
        ))
        .unwrap();
    let states: Vec<JobState> = jobs.into_iter().map(|job| job.state).collect();
    let queued =
        "PBS job 12.server is queued: Not Running: Insufficient amount of resource: ncpus (R: 4 A: 2 T: 2)";
    let ended = "PBS job 12.server ended with status 271: Job run at 10:00 and exceeded resource walltime";
    assert_eq!(
        states,
        [
            JobState::Waiting(queued.into()),
            JobState::Waiting("PBS job 12.server is held".into()),
            JobState::Running(Some(3_550_000)),
            JobState::Running(None),
            JobState::Ended(ended.into()),
        ]
    );
}

#[test]
fn the_name_of_a_job_is_read_or_what_came_instead_is_told() {
    assert_eq!(Pbs.submitted("17.server.org\n"), Ok("17.server.org".into()));
    assert_eq!(Pbs.submitted("17[].server\n"), Ok("17[].server".into()));
    assert_eq!(Pbs.submitted("hello you\n"), Err("qsub printed no job's name but 'hello you'".into()));
}
