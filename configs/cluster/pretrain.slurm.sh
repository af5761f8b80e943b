#!/usr/bin/env bash
# Pre-training on several machines under Slurm: sbatch configs/cluster/pretrain.slurm.sh
#
# Every node runs the same command with a TF_CONFIG of its own. The folders must be on a file system that all nodes
# share. TERM comes five minutes before the time is up: the run saves and stops (status 143), and the job is queued
# again. When a node is lost, the others say so and end; the same commands then go on from the newest checkpoint.
# Checked: the TF_CONFIG that this makes, with stand-ins for scontrol and srun (tests/test_cluster_configs.py).
#SBATCH --job-name=kobert-pretrain
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --output=pretrain-%j.log
set -uo pipefail

SHARED=${SHARED:-/shared/kobert}   # records/, tokenizer/ and the output
PORT=${PORT:-2222}
TRIES=${TRIES:-3}

WORKERS=""
for host in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    WORKERS="$WORKERS${WORKERS:+, }\"$host:$PORT\""
done
export WORKERS SHARED

one_node() {
    export TF_CONFIG="{\"cluster\": {\"worker\": [$WORKERS]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
    exec kobert pretrain --flagfile=base --do_train --strategy=multi_worker \
        --input_file="$SHARED/records/*" --vocab_file="$SHARED/tokenizer" --output_dir="$SHARED/pretrained"
}
export -f one_node

for attempt in $(seq "$TRIES"); do
    srun --kill-on-bad-exit=0 bash -c one_node && exit 0
    status=$?
    if [ "$status" = 143 ]; then   # TERM: saved, and time is up
        scontrol requeue "$SLURM_JOB_ID"
        exit 0
    fi
    echo "attempt $attempt of $TRIES ended with status $status" >&2
done
exit "$status"
