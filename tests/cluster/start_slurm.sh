#!/usr/bin/env bash
# Starts a SLURM of one node on this machine (Debian, as root), for tests: start_slurm.sh FOLDER
# Installs slurm-wlm and munge where they are missing; its state, logs and slurm.conf are in FOLDER. Two partitions share
# the node: a job in `high` pre-empts one in `low`, which SLURM queues again. Prints what went wrong and exits non-zero
# where it cannot be had.
set -euo pipefail
folder=$(realpath "$1")
host=$(hostname -s)

if ! command -v slurmctld slurmd munged > /dev/null; then
  { apt-get install -y --no-install-recommends slurm-wlm munge || { apt-get update && apt-get install -y \
    --no-install-recommends slurm-wlm munge; }; } > "$folder/apt.log" 2>&1 || { tail -3 "$folder/apt.log"; exit 1; }
fi

if ! munge -n > /dev/null 2>&1; then
  [ -s /etc/munge/munge.key ] || mungekey --create
  install -d -o munge -g munge /run/munge /var/log/munge /var/lib/munge
  chown munge /etc/munge/munge.key
  runuser -u munge -- munged
fi

mkdir -p "$folder"/{state,spool}
cat > "$folder/slurm.conf" << CONF
ClusterName=warmstart
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=1,sched_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=30
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=low Nodes=$host Default=YES PriorityTier=1 PreemptMode=REQUEUE State=UP
PartitionName=high Nodes=$host PriorityTier=10 PreemptMode=OFF State=UP
CONF

export SLURM_CONF=$folder/slurm.conf
slurmctld
slurmd
for _ in $(seq 30); do
  [ "$(sinfo --noheader --partition=low --format=%t 2> /dev/null)" = idle ] && exit 0
  sleep 1
done
sinfo || true
tail -3 "$folder/slurmctld.log" "$folder/slurmd.log"
exit 1
