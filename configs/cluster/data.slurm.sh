#!/usr/bin/env bash
# A vocabulary and pre-training records on several machines under Slurm, by Beam on Dask:
# sbatch configs/cluster/data.slurm.sh
#
# One task is the scheduler, one runs the commands, all others are workers of one thread. The environment is one with
# pip install 'kobert_tf2[dask]', the same on every node; the folder is on a file system that all nodes share.
# Checked: that each task runs what it should, with a stand-in for the commands (tests/test_cluster_configs.py).
#SBATCH --job-name=kobert-data
#SBATCH --ntasks=66
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=3G
#SBATCH --time=12:00:00
#SBATCH --output=data-%j.log
set -uo pipefail

export SHARED=${SHARED:-/shared/kobert}   # corpus/*.txt, and the output
export SCHEDULER="$SHARED/scheduler-$SLURM_JOB_ID.json"

one_task() {
    case "$SLURM_PROCID" in
        0) exec dask scheduler --scheduler-file "$SCHEDULER" ;;
        1) commands; status=$?; scancel "$SLURM_JOB_ID"; exit "$status" ;;
        *) exec dask worker --scheduler-file "$SCHEDULER" --nthreads 1 --memory-limit 2.5GiB --local-directory "${TMPDIR:-/tmp}" ;;
    esac
}

commands() {
    until [ -e "$SCHEDULER" ]; do sleep 1; done
    kobert build-vocab --input_file="$SHARED/corpus/*.txt" --output_dir="$SHARED/tokenizer" \
        --runner=beam --beam_option=--runner=DaskRunner --beam_option=--dask_scheduler_file="$SCHEDULER" &&
    kobert create-pretraining-data --input_file="$SHARED/corpus/*.txt" --vocab_file="$SHARED/tokenizer" \
        --output_file="$SHARED/records/corpus" --num_shards=1024 --dupe_factor=5 \
        --runner=beam --beam_option=--runner=DaskRunner --beam_option=--dask_scheduler_file="$SCHEDULER"
}
export -f one_task commands

srun --kill-on-bad-exit=0 bash -c one_task
