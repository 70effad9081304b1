#!/usr/bin/env python3
"""The swarm laboratory: spreads one file over shaped network namespaces by one tool, and says how long it took.

    swarmlab.py run --driver tiding --n 16 --rate 50 --size 32M
    swarmlab.py clean

Each run is a line of JSON on stdout and a sentence on stderr. Root only. One run at a time on a machine: another one waits.
`cargo xtask bench swarm` runs all cells and tools with it and makes the table.
"""
import argparse
import contextlib
import fcntl
import importlib.util
import json
import os
import re
import resource
import signal
import sys
import traceback

from broadcast import BASE, DONE, FAILED, Broadcast, Cell
from groups import Groups
from network import remove_all

LOCK = '/run/swarmlab.lock'
UNITS = {'': 0, 'K': 10, 'M': 20, 'G': 30}


def size_in_bytes(text):
    """Bytes of `4096`, `64K`, `32M` or `1G`."""
    found = re.fullmatch(r'(\d+)([KMG]?)', text)
    if not found:
        raise argparse.ArgumentTypeError(f'{text} is no size; write 4096, 64K, 32M or 1G')
    return int(found[1]) << UNITS[found[2]]


def host_and_number(text):
    """(3, 10.0) of `3:10`."""
    host, _, number = text.partition(':')
    try:
        return int(host), float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text} is no host and number; write 3:10') from None


def arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest='command', required=True)
    run = commands.add_parser('run', help='measure')
    run.add_argument('--driver', required=True, help='tiding, chain, libtorrent, curl, rsync, uftp, or one of SWL_EXTRA')
    run.add_argument('--n', type=int, default=16, help='hosts, the source among them')
    run.add_argument('--rate', type=int, default=50, help='Mbit/s of each link, each way; 0: unlimited')
    run.add_argument('--size', type=size_in_bytes, default='32M', help='bytes of the file; K, M and G are powers of 1024')
    run.add_argument('--slow', type=host_and_number, metavar='HOST:MBIT', help='that host has a slower link')
    run.add_argument('--kill', type=host_and_number, metavar='HOST:SECONDS', help='that host dies so long after the start')
    run.add_argument('--limit', type=float, default=120, help='seconds after which a run is given up')
    run.add_argument('--quiet', type=float, default=60, help='seconds to wait at most for the machine to be quiet')
    run.add_argument('--runs', type=int, default=1)
    run.add_argument('--opt', action='append', default=[], metavar='KEY=VALUE', help='for the driver')
    run.add_argument('--keep', action='store_true', help=f'leave files and logs of the last run in {BASE}')
    commands.add_parser('clean', help='remove what a killed run has left')
    return parser.parse_args(words)


def all_drivers():
    """Every driver by name: of this directory, and of the files that SWL_EXTRA names, separated by colons."""
    from drivers import DRIVERS
    from tiding import DRIVERS as OURS
    found = {**DRIVERS, **OURS}
    for number, path in enumerate(filter(None, os.environ.get('SWL_EXTRA', '').split(':'))):
        spec = importlib.util.spec_from_file_location(f'extra_{number}', path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.update(module.DRIVERS)
    return found


@contextlib.contextmanager
def alone():
    """Within it nobody else uses the laboratory on this machine; whoever does is waited for."""
    with open(LOCK, 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f'swarmlab: another run has the laboratory ({LOCK}); waiting for it', file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def stop_on_signals():
    """Being ended means cleaning up as well."""
    def stop(number, _frame):
        raise SystemExit(f'swarmlab: stopped by {signal.Signals(number).name}')
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop)


def without_paths(text):
    """The text with every absolute path cut down to its last part: a record is the same wherever it was made."""
    return re.sub(r'(?<![\w.])/(?:[\w.~+-]+/)*([\w.~+-]+)', r'\1', text)


def record(cell, driver_class, given, index):
    """One run as it goes into the results; a run that fails is a record as well."""
    mishap = {'slow': cell.slow, 'kill': cell.kill}
    about = {'tool': given.driver, 'run': index, 'hosts': cell.hosts, 'mbit': cell.mbit, 'bytes': cell.size, **mishap}
    options = dict(option.split('=', 1) for option in given.opt)
    # Whatever hangs ends here: starting, waiting for quiet, the run itself, and the digests.
    signal.alarm(int(cell.limit + given.quiet + 180))
    try:
        return {**about, **Broadcast(cell, driver_class, options).run(given.quiet, given.keep)}
    except (RuntimeError, OSError, ValueError, ImportError) as error:
        traceback.print_exc()
        return {**about, 'outcome': FAILED, 'why': without_paths(f'{type(error).__name__}: {error}')}
    finally:
        signal.alarm(0)


def sentence(run):
    """What a record says, for people."""
    what = f'{run["tool"]}, {run["hosts"]} hosts, {run["mbit"] or "no"} Mbit/s, {run["bytes"] / (1 << 20):g} MiB'
    if run['outcome'] != DONE:
        return f'{what}: {run["outcome"]}: {run["why"]}'
    ratio = f' = {run["last_s"] / run["unicast_s"]:.3f} unicasts' if run['unicast_s'] else ''
    copies = f'the source sent {run["sent_by_source"] / run["bytes"]:.2f} copies'
    return f'{what}: last {run["last_s"]:.3f} s{ratio}, {copies}, {run["cpu_s_per_gib"]:.1f} CPU s/GiB'


def measure(given):
    """Runs it as often as asked. True when every run ended well."""
    drivers = all_drivers()
    if given.driver not in drivers:
        raise SystemExit(f'swarmlab: there is no driver {given.driver}; there are {", ".join(sorted(drivers))}')
    slow = (given.slow[0], int(given.slow[1])) if given.slow else None
    cell = Cell(given.n, given.rate, given.size, given.limit, slow, given.kill)
    went_well = True
    for index in range(given.runs):
        with alone():
            run = record(cell, drivers[given.driver], given, index)
        print(json.dumps(run), flush=True)
        print(f'swarmlab: {sentence(run)}', file=sys.stderr)
        went_well &= run['outcome'] == DONE
    return went_well


def main():
    given = arguments(sys.argv[1:])
    if os.geteuid() != 0:
        raise SystemExit('swarmlab: only root may make network namespaces; run it with sudo')
    stop_on_signals()
    if given.command == 'clean':
        with alone():
            Groups([]).leave()
            remove_all()
        return 0
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.nice(-10)
    return 0 if measure(given) else 1


if __name__ == '__main__':
    sys.exit(main())
