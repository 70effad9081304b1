"""One broadcast: a file from host 0 to all others by one tool, measured from the moment the gate opens.

What is known beforehand is started beforehand and idle: servers, daemons, agents. At t0 one byte in a pipe frees everyone who waits
for it. A host is done when its tool says so; that the file is right is checked after the run, one host after the other, since fifteen
digests at once on two cores would slow down what is measured. The time of a digest is then added to the host's time.
"""
import hashlib
import math
import os
import random
import selectors
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass

from groups import Groups
from network import Network
from swarmlab_api import ENV, hostid

BASE = '/dev/shm/swl'
GIB = 1 << 30
# Other work on the machine may take so much of it before a run begins.
QUIET = 0.12

DONE = 'done'
NEVER_ENDED = 'never ended'
FAILED = 'failed'


@dataclass
class Cell:
    """What is measured: `hosts` hosts, links of `mbit` Mbit/s (0: unlimited), a file of `size` bytes, `limit` seconds at most.

    `slow` is (host, Mbit/s) and `kill` is (host, seconds after t0), or None.
    """
    hosts: int
    mbit: int
    size: int
    limit: float
    slow: tuple = None
    kill: tuple = None

    def receivers(self):
        """The hosts that must have the file in the end: everyone but a host that is killed."""
        killed = self.kill[0] if self.kill else None
        return [host for host in range(1, self.hosts) if host != killed]

    def unicast_seconds(self):
        """What one unicast takes at full rate without any overhead; None without a rate."""
        return self.size * 8 / (self.mbit * 1e6) if self.mbit else None


class Broadcast:
    """A run of one tool in one cell; what a driver sees as its `lab`.

    For drivers: `n` hosts, `size` bytes, `rate` Mbit/s, `src` the file, `dir(host)` a host's directory, `work` one for all, `net`,
    `gate` and `donefifo` the pipes, `options` of the command line as a dict.
    """

    def __init__(self, cell, driver, options):
        self.cell, self.driver_class, self.options = cell, driver, options
        self.n, self.size, self.rate = cell.hosts, cell.size, cell.mbit
        self.work = f'{BASE}/work'
        self.src = f'{self.dir(0)}/payload'
        self.gate, self.donefifo = f'{self.work}/gate', f'{self.work}/done'
        self.net = Network(cell.hosts, cell.mbit)
        self.groups = Groups(hostid(host) for host in range(cell.hosts))
        self.procs = []
        self.finished = {}

    def dir(self, host):
        """Where a host keeps what it has."""
        return f'{BASE}/{hostid(host)}'

    def run(self, quiet=60.0, keep=False):
        """Runs it and cleans up, whatever happens. The measurements, as a dict; RuntimeError when it cannot be run.

        Waits `quiet` seconds at most for the machine to be quiet. With `keep` the hosts' files and logs stay in BASE.
        """
        try:
            self._set_up()
            before = wait_for_quiet(quiet)
            measured = self._measure()
            measured['report'] = self._report()
            self._stop()
            return dict(self._judge(), **measured, busy_before=before)
        finally:
            self._tear_down(keep)

    # Before.

    def _set_up(self):
        shutil.rmtree(BASE, ignore_errors=True)
        for path in [self.work] + [self.dir(host) for host in range(self.n)]:
            os.makedirs(path)
        os.mkfifo(self.gate)
        os.mkfifo(self.donefifo)
        write_payload(self.src, self.size)
        self.groups.kill_all()
        self.groups.enter()
        self.net.up()
        if self.cell.slow:
            self.net.limit(hostid(self.cell.slow[0]), self.cell.slow[1])
        self.driver = self.driver_class(self)
        self.driver.prepare()
        self._spawn_all(self.driver.pre())
        self.driver.ready()
        self._spawn_all(self.driver.recv())
        time.sleep(0.5 + 0.01 * self.n)
        self.driver.armed()
        self._nobody_has_died()

    def _spawn_all(self, procs):
        for proc in procs:
            self._spawn(proc)

    def _spawn(self, proc):
        """Starts a process on its host, in its control group; a gated one behind the gate."""
        name = hostid(proc.host)
        joins = [f'echo $$ > {door}' for door in self.groups.doors(name)]
        waits = [f'read _ < {self.gate}'] if proc.gated else []
        script = '; '.join(joins + waits + ['exec "$@"'])
        env = dict(ENV, HOME=self.work, SWL_HOST=str(proc.host), SWL_DONE=self.donefifo, SWL_GATE=self.gate, **proc.env)
        with open(self.log(proc), 'ab') as log, self.net.inside(name):
            proc.running = subprocess.Popen(['/bin/sh', '-c', script, 'sh'] + proc.argv, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True, cwd=self.dir(proc.host), env=env)
        self.procs.append(proc)

    def log(self, proc):
        """Where a process writes what it says."""
        tag = f'-{proc.tag}' if proc.tag else ''
        return f'{self.work}/log-{hostid(proc.host)}-{os.path.basename(proc.argv[0])}{tag}'

    def _nobody_has_died(self):
        for proc in self.procs:
            code = proc.running.poll()
            if code is not None:
                raise RuntimeError(f'{os.path.basename(proc.argv[0])} on {hostid(proc.host)} ended before the start, '
                                   f'exit code {code}: {last_line(self.log(proc))}')

    # While it runs.

    def _measure(self):
        """Opens the gate, waits for everyone or the limit, and gives what was spent meanwhile."""
        sent, dropped, cpu, machine = self.net.sent(), self.net.dropped(), self.groups.cpu_seconds(), processor_times()
        self.done_reader = os.open(self.donefifo, os.O_RDWR | os.O_NONBLOCK)
        gate = os.open(self.gate, os.O_RDWR | os.O_NONBLOCK)
        try:
            self.t0 = time.monotonic()
            os.write(gate, b'\n' * (self.n + 8))
            self.driver.go()
            self._wait()
        finally:
            os.close(gate)
            os.close(self.done_reader)
        took = time.monotonic() - self.t0
        now_sent, now_cpu, now = self.net.sent(), self.groups.cpu_seconds(), processor_times()
        names = [hostid(host) for host in range(self.n)]
        spent = sum(now_cpu[name] - cpu[name] for name in names)
        delivered = self.size * max(1, len(self.finished)) / GIB
        return {
            'measured_s': round(took, 3),
            'sent_by_source': now_sent['h0'] - sent['h0'],
            'sent_by_all': sum(now_sent[name] - sent[name] for name in names),
            'dropped_packets': self.net.dropped() - dropped,
            'cpu_s': round(spent, 3),
            'cpu_s_source': round(now_cpu['h0'] - cpu['h0'], 3),
            'cpu_s_per_gib': round(spent / delivered, 3),
            'cpu_s_per_gib_got': round(spent / delivered * got(machine, now), 3),
            'machine_busy': busy_between(machine, now),
            'machine_stolen': stolen_between(machine, now),
            'memory_kib_source': self.groups.peak_memory_kib('h0'),
            'memory_kib_receiver': max(self.groups.peak_memory_kib(name) for name in names[1:]),
        }

    def _wait(self):
        missing = set(self.cell.receivers())
        kill = self.cell.kill
        with selectors.DefaultSelector() as selector:
            selector.register(self.done_reader, selectors.EVENT_READ)
            exits = self._watch_exits(selector)
            while missing and self._now() < self.cell.limit:
                if kill and self._now() >= kill[1]:
                    self.groups.kill(hostid(kill[0]))
                    kill = None
                wake = min(kill[1] if kill else math.inf, self.cell.limit, self._now() + 0.5)
                events = selector.select(max(0.0, wake - self._now()))
                now = self._now()
                for key, _ in events:
                    for host in self._done_now(key, selector) & missing:
                        self.finished[host] = now
                        missing.discard(host)
            for handle in exits:
                os.close(handle)

    def _now(self):
        return time.monotonic() - self.t0

    def _watch_exits(self, selector):
        handles = []
        for proc in self.procs:
            if proc.done == 'exit':
                handles.append(os.pidfd_open(proc.running.pid))
                selector.register(handles[-1], selectors.EVENT_READ, proc)
        return handles

    def _done_now(self, key, selector):
        """The hosts that an event says are done."""
        if key.data is None:
            return {int(word) for word in os.read(self.done_reader, 1 << 16).split()}
        selector.unregister(key.fileobj)
        return {key.data.host} if key.data.running.wait() == 0 else set()

    # After.

    def _report(self):
        """What the tool itself says, where everybody is well and done: nothing else is worth waiting for."""
        is_ill = self.cell.slow or self.cell.kill or len(self.finished) < self.n - 1
        return {} if is_ill else self.driver.finish()

    def _judge(self):
        """Checks every file, and says who was done when. A wrong file fails the run."""
        times, wanted = {}, digest(self.src)
        for host, seen in self.finished.items():
            begun = time.monotonic()
            if not is_file_like(self.driver.out(host), self.size, wanted):
                return {'outcome': FAILED, 'why': f'the file on {hostid(host)} is not what was published'}
            times[host] = self.driver.time(host, seen) + time.monotonic() - begun
        return verdict(self.cell, times)

    def _stop(self):
        self.groups.kill_all()
        for proc in self.procs:
            proc.running.kill()
            proc.running.wait()

    def _tear_down(self, keep):
        self._stop()
        self.groups.leave()
        self.net.down()
        if not keep:
            shutil.rmtree(BASE, ignore_errors=True)


def verdict(cell, times):
    """How a run ended, from the seconds at which each host had the file and knew it.

    A slow host is waited for, and is not among those whose last one counts.
    """
    slow = cell.slow[0] if cell.slow else None
    awaited = [host for host in cell.receivers() if host != slow]
    rising = sorted(times[host] for host in awaited if host in times)
    missing = len(awaited) - len(rising)
    outcome = {'outcome': NEVER_ENDED, 'why': f'{missing} of {len(awaited)} hosts had nothing whole after {cell.limit:.0f} s'}
    if not missing:
        outcome = {'outcome': DONE, 'last_s': round(rising[-1], 4), 'median_s': round(statistics.median(rising), 4),
                   'first_s': round(rising[0], 4)}
    return dict(outcome, unicast_s=cell.unicast_seconds(), slow_host_s=round(times[slow], 4) if slow in times else None)


def write_payload(path, size):
    """Writes bytes that no tool can compress, the same ones each time."""
    drawn = random.Random(size)
    with open(path, 'wb') as file:
        for begin in range(0, size, 1 << 20):
            file.write(drawn.randbytes(min(1 << 20, size - begin)))


def digest(path):
    """SHA-256 of a file."""
    sha256 = hashlib.sha256()
    with open(path, 'rb', buffering=0) as file:
        while block := file.read(1 << 20):
            sha256.update(block)
    return sha256.digest()


def is_file_like(path, size, wanted):
    """Whether there is a file of that length and digest."""
    try:
        return os.path.getsize(path) == size and digest(path) == wanted
    except OSError:
        return False


def last_line(path):
    """What a log ends with, or nothing."""
    with open(path, errors='replace') as log:
        return ''.join(log.readlines()[-1:]).strip()


def processor_times():
    """Ticks of all processors since they were started: (at work, in all, of those at work what a hypervisor kept for others)."""
    with open('/proc/stat') as stat:
        ticks = [int(word) for word in stat.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle, sum(ticks), ticks[7])


def busy_between(before, after):
    """Which part of the processors was at work, 0 to 1."""
    return round((after[0] - before[0]) / max(1, after[1] - before[1]), 3)


def stolen_between(before, after):
    """Which part of the processors a hypervisor kept for others, 0 to 1."""
    return round((after[2] - before[2]) / max(1, after[1] - before[1]), 3)


def got(before, after):
    """How much of the time that processes were charged for they had: a control group is charged for stolen time as well."""
    return 1 - (after[2] - before[2]) / max(1, after[0] - before[0])


def wait_for_quiet(limit):
    """Returns when the machine has little else to do, or after `limit` seconds; how busy it was in the last one, 0 to 1."""
    until = time.monotonic() + limit
    while True:
        before = processor_times()
        time.sleep(0.5)
        busy = busy_between(before, processor_times())
        if busy < QUIET or time.monotonic() > until:
            return busy
