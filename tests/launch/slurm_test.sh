#!/usr/bin/env bash
# The scripts of launch/slurm under a real Slurm of four nodes on this machine:
# every way of ending and starting again must leave the bytes of a run that was
# never interrupted.
#
#   tests/launch/slurm_test.sh [BUILD]
#
# BUILD, build/cpu if not given, holds rtpurbo and tests/write_test_model.
# Starts its own daemons (slurmctld, four slurmd, munged if none runs) with
# their files in a scratch folder, and ends them; the folder stays if a case
# fails. Needs root, about 2 minutes.
# Exit code: 0 passed, 1 failed, 77 skipped: the daemons are not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${1:-build/cpu}")

for tool in slurmctld slurmd srun sbatch munged; do
  if ! PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null; then
    echo "skipped: no $tool here (slurmctld slurmd slurm-client munge)"
    exit 77
  fi
done
if ((EUID != 0)); then
  echo "skipped: Slurm's daemons need root"
  exit 77
fi
export PATH=$PATH:/usr/sbin

scratch=$(mktemp -d)
host=$(hostname -s)
our_munged=false
stop() {
  local code=$?
  scancel -u root 2>/dev/null || true
  sleep 1
  kill $(cat "$scratch"/slurmd.n*.pid "$scratch"/ctld.pid 2>/dev/null) \
    2>/dev/null || true
  if $our_munged; then
    kill "$(cat /run/munge/munged.pid)" 2>/dev/null || true
  fi
  sleep 2
  if ((code == 0)); then
    rm -rf "$scratch"
  else
    echo "logs of all jobs: $scratch" >&2
  fi
}
trap stop EXIT

# TmpFS of each node's own: PMIx makes folders of one name there.
cat >"$scratch/slurm.conf" <<TEXT
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
SlurmctldPort=17110
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool.%n
TmpFS=$scratch/tmp.%n
SlurmctldPidFile=$scratch/ctld.pid
SlurmdPidFile=$scratch/slurmd.%n.pid
SlurmctldLogFile=$scratch/log/ctld.log
SlurmdLogFile=$scratch/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdTimeout=30
KillWait=5
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
NodeName=n[1-4] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17121-17124] CPUs=4 RealMemory=2000 State=UNKNOWN
PartitionName=p Nodes=ALL Default=YES MaxTime=INFINITE State=UP
TEXT
export SLURM_CONF=$scratch/slurm.conf
mkdir -p "$scratch"/{state,log,tmp.n{1..4},spool.n{1..4}}
if ! pgrep -x munged >/dev/null; then
  mkdir -p /run/munge
  chown munge: /run/munge
  su -s /bin/sh munge -c /usr/sbin/munged
  our_munged=true
fi
setsid slurmctld
for i in 1 2 3 4; do
  setsid slurmd -N "n$i"
done
for _ in $(seq 20); do
  [[ $(sinfo -h -t idle -o %D 2>/dev/null) == 4 ]] && break
  sleep 0.5
done

RTPURBO_ROOT=$PWD "$build/tests/write_test_model" "$scratch/model"
export RTPURBO_HOME=$PWD RTPURBO_BINARY=$build/rtpurbo
export RTPURBO_RUN=configs/recipes/test_model.textproto
export RTPURBO_SET="model.path=\"$scratch/model\"
data.paths=[\"$scratch/model/text\"]
align.steps=40
distill.steps=40"

failed=0 passed=0
expect() {  # NAME COMMAND...
  local name=$1
  shift
  if "$@"; then
    echo "ok      $name"
    passed=$((passed + 1))
  else
    echo "FAILED  $name"
    failed=$((failed + 1))
  fi
}
submit() {  # NAME SCRIPT [SBATCH FLAG...]: prints the job's number
  local name=$1 script=$2
  shift 2
  RTPURBO_OUT=$scratch/$name sbatch --parsable --output="$scratch/$name.log" \
    "$@" "launch/slurm/$script.sbatch"
}
state() { scontrol show job "$1" -o 2>/dev/null; }
# A requeued job has to wait two minutes: not here.
wait_for_end() {  # JOB
  for _ in $(seq 240); do
    case $(state "$1") in
      *JobState=COMPLETED*) return 0 ;;
      *JobState=FAILED* | *JobState=CANCELLED* | *JobState=TIMEOUT*) return 1 ;;
      *Reason=BeginTime*)
        scontrol update jobid="$1" StartTime=now 2>/dev/null || true ;;
    esac
    sleep 0.5
  done
  return 1
}
# A checkpoint may come and go between two looks; a line of metrics stays.
wait_for_step() {  # FOLDER STAGE STEP
  for _ in $(seq 240); do
    grep -q "\"stage\":\"$2\",\"step\":$3," "$1/metrics.jsonl" 2>/dev/null &&
      return 0
    sleep 0.1
  done
  return 1
}
# Of what must not depend on where a run was interrupted.
digest() {  # FOLDER
  (cd "$1" && sha256sum heads.textproto align/projections.safetensors \
    export/*.safetensors && sed 's/"seconds":[^,}]*//' evaluation.jsonl |
    sha256sum)
}
same_bytes() { [[ $(digest "$scratch/$1") == $(digest "$scratch/$2") ]]; }
started_twice() { grep -q "start 2," "$scratch/$1.log"; }

job=$(submit whole run -N4)
expect "a run on 4 nodes by srun and pmix" wait_for_end "$job"
expect "it used srun" grep -q "4 ranks on n\[1-4\] by srun" "$scratch/whole.log"

previous=$(submit stages prepare)
for stage in calibrate align distill export evaluate; do
  previous=$(submit stages "$stage" -N4 --dependency="afterok:$previous")
done
expect "the stages one after the other" wait_for_end "$previous"
expect "... end with its bytes" same_bytes whole stages

job=$(submit requeued run -N4)
wait_for_step "$scratch/requeued" align 10
scontrol requeue "$job"
expect "scontrol requeue" wait_for_end "$job"
expect "... started twice" started_twice requeued
expect "... ends with its bytes" same_bytes whole requeued

job=$(submit down run -N4)
wait_for_step "$scratch/down" distill 10
scontrol update nodename=n2 state=down reason=test
expect "a node that is down" wait_for_end "$job"
expect "... started twice" started_twice down
expect "... ends with its bytes" same_bytes whole down
scontrol update nodename=n2 state=resume 2>/dev/null || true

job=$(submit array run -N1 --array=0-1)
expect "an array of seeds" wait_for_end "${job}_0"
expect "... its other task" wait_for_end "${job}_1"
expect "... has other bytes for another seed" \
  bash -c "! cmp -s '$scratch'/array/seed_{0,1}/align/projections.safetensors"

# A program that saves and asks to be started again, whatever it is told.
printf '#!/bin/sh\nexit 75\n' >"$scratch/saves"
chmod +x "$scratch/saves"
job=$(RTPURBO_BINARY=$scratch/saves RTPURBO_RESTARTS=2 submit again run)
wait_for_end "$job" || true
expect "code 75 requeues, but not for ever" \
  grep -q "requeued 2 times already: stopping" "$scratch/again.log"

# One that saves when it is asked to: the batch shell passes the signal on.
printf '#!/bin/bash\ntrap "echo saved >>%s; exit 75" USR1\n%s\n' \
  "$scratch/said" 'for i in {1..300}; do sleep 0.1; done' >"$scratch/asked"
chmod +x "$scratch/asked"
job=$(RTPURBO_BINARY=$scratch/asked RTPURBO_RESTARTS=0 submit asked run -N2)
sleep 2
scancel --batch --signal=USR1 "$job"
wait_for_end "$job" || true
expect "USR1 to the batch shell reaches every rank" \
  [ "$(grep -c saved "$scratch/said")" == 2 ]

if ((failed)); then
  tail -n 5 "$scratch"/*.log
fi
echo "$passed passed, $failed failed"
exit $((failed != 0))
