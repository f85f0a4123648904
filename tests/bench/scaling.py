#!/usr/bin/env python3
"""Measures how much faster two ranks train `tiny` in stage 2 than one.

    tests/bench/scaling.py [--build build/cpu] [--rounds 5] [--steps 12]
        [--scratch DIR] [--at-least 1.7]

Each rank has one thread and a core of its own. The stages before are made
once, in DIR, and kept if DIR is given; then one rank, two that share weights
(mesh.shard) and two that each have them all (mesh.replica) take turns. A run's
speed is its tokens over its seconds in steps, from the third on: without
evaluations and checkpoints. On a machine with other work, only the fastest runs
say something; the last column takes each step's fastest time of all rounds.
Needs mpirun. Exit code 1 if the faster kind of two ranks is not --at-least
times as fast as one, by that column.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIRST_STEP = 3
KINDS = {'one rank': (1, []),
         'two shards': (2, ['mesh.shard=2']),
         'two replicas': (2, ['mesh.replica=2', 'mesh.shard=1'])}


def start(binary, ranks, command, run, out, edits):
    environment = dict(os.environ, RTPURBO_THREADS='1',
                       OPENBLAS_NUM_THREADS='1', RTPURBO_LOG='error',
                       OMPI_ALLOW_RUN_AS_ROOT='1',
                       OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1')
    line = ['mpirun', '--bind-to', 'core', '-n', str(ranks), binary, command,
            f'--run={run}', f'--out={out}']
    for edit in edits:
        line += ['--set', edit]
    subprocess.run(line, cwd=ROOT, env=environment, check=True,
                   stdout=subprocess.DEVNULL)


def make_base(binary, base, steps):
    """All that comes before stage 2, and its labels."""
    edits = ['calibration.method=NEEDLE', 'calibration.needle_documents=1',
             'calibration.gate_points=1', 'align.steps=2',
             'align.warmup_steps=1', 'align.held_out_sequences=2',
             f'distill.steps={steps}', 'distill.warmup_steps=1',
             f'distill.held_out_every={steps}', 'distill.held_out_sequences=2',
             f'checkpoint.every={steps}']
    recipe = 'configs/recipes/tiny.textproto'
    for command in 'prepare', 'calibrate', 'align', 'distill':
        start(binary, 1, command, recipe, base, edits)
    shutil.rmtree(base / 'distill')
    (base / 'artefacts/distill.textproto').unlink()
    (base / 'metrics.jsonl').unlink()


def steps_of(binary, base, out, ranks, edits):
    """{step: (tokens, seconds)} of one run of stage 2."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(base, out)
    start(binary, ranks, 'distill', out / 'run.textproto', out, edits)
    lines = [json.loads(line) for line in open(out / 'metrics.jsonl')]
    return {line['step']: (line['tokens'], line['seconds']) for line in lines
            if line['stage'] == 'distill' and line['step'] >= FIRST_STEP}


def speed(steps):
    return sum(s[0] for s in steps) / sum(s[1] for s in steps)


def measure(binary, base, rounds):
    """{kind: its rounds}"""
    runs = {kind: [] for kind in KINDS}
    for i in range(rounds):
        for kind, (ranks, edits) in KINDS.items():
            steps = steps_of(binary, base, base.parent / 'out', ranks, edits)
            runs[kind].append(steps)
            print(f'round {i + 1}, {kind}: {speed(steps.values()):.0f} '
                  f'tokens/s, load {os.getloadavg()[0]:.1f}', flush=True)
    return runs


def report(runs):
    """Prints a line for each kind; returns the best ratio to one rank."""
    first = {}
    for kind, of_kind in runs.items():
        fastest_run = max(speed(steps.values()) for steps in of_kind)
        fastest_steps = speed([min((steps[s] for steps in of_kind),
                                   key=lambda step: step[1])
                               for s in of_kind[0]])
        first = first or {'run': fastest_run, 'steps': fastest_steps}
        ratio = fastest_steps / first['steps']
        print(f'{kind:13} fastest run {fastest_run:6.0f} tokens/s, '
              f'{fastest_run / first["run"]:.2f}x; '
              f'fastest steps {fastest_steps:6.0f} tokens/s, {ratio:.2f}x')
        best = ratio if kind == 'one rank' else max(best, ratio)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', default='build/cpu')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--steps', type=int, default=12)
    parser.add_argument('--scratch')
    parser.add_argument('--at-least', type=float, default=0)
    arguments = parser.parse_args()
    binary = ROOT / arguments.build / 'rtpurbo'
    with tempfile.TemporaryDirectory() as temporary:
        base = pathlib.Path(arguments.scratch or temporary) / 'base'
        if not (base / 'prepare/labels.h5').exists():
            make_base(binary, base, arguments.steps)
        best = report(measure(binary, base, arguments.rounds))
    sys.exit(best < arguments.at_least)


if __name__ == '__main__':
    main()
