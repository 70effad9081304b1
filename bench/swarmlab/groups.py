"""Control groups: what each host's processes cost, which they are, and that other work does not starve them.

Both kinds are known: the single hierarchy of today's systems (version 2), and the separate ones of `cpu` and `cpuacct` (version 1).
The laboratory's processes have a share of the processors that leaves other work almost nothing while they run.
"""
import os
import signal
import time

ROOT = '/sys/fs/cgroup'
NAME = 'swl'
SHARES_VERSION_1 = '200000'
WEIGHT_VERSION_2 = '10000'
# The harness runs beside the hosts and is not counted with them.
HARNESS = 'harness'


class Groups:
    """One group for each of `names`, and one for the harness, which `enter` moves into it."""

    def __init__(self, names, root=ROOT):
        self.names = list(names)
        self.is_split = os.path.isdir(f'{root}/cpuacct')
        self.account = f'{root}/cpuacct/{NAME}' if self.is_split else f'{root}/{NAME}'
        self.share = f'{root}/cpu/{NAME}' if self.is_split else self.account
        self.members = 'tasks' if self.is_split else 'cgroup.procs'
        self.left = []

    def enter(self):
        """Makes the groups, and moves the harness into its own. OSError when control groups cannot be written."""
        os.makedirs(self.share, exist_ok=True)
        if not self.is_split:
            _try_to_write(f'{os.path.dirname(self.account)}/cgroup.subtree_control', '+cpu')
        setting = ('cpu.shares', SHARES_VERSION_1) if self.is_split else ('cpu.weight', WEIGHT_VERSION_2)
        _try_to_write(f'{self.share}/{setting[0]}', setting[1])
        for name in self.names + [HARNESS]:
            os.makedirs(f'{self.account}/{name}', exist_ok=True)
        self.left = self._groups_of_harness()
        for path in self.doors(HARNESS):
            _write(path, str(os.getpid()))

    def leave(self):
        """Moves the harness back to where it was, ends whoever is left inside, and removes the groups."""
        self.kill_all()
        for group in self.left:
            _try_to_write(f'{group}/{self.members}', str(os.getpid()))
        for path in [f'{self.account}/{name}' for name in self._names_there()] + [self.account, self.share]:
            _try_to_remove(path)

    def doors(self, name):
        """The files that a process writes its number into to belong to `name`."""
        account = f'{self.account}/{name}/{self.members}'
        is_one = not self.is_split or os.path.samefile(self.account, self.share)
        return [account] if is_one else [account, f'{self.share}/{self.members}']

    def cpu_seconds(self):
        """Processor seconds of each host until now, by name. What the kernel does for packets is in it only in part."""
        return {name: self._cpu_seconds(name) for name in self.names}

    def _cpu_seconds(self, name):
        if self.is_split:
            return int(_read(f'{self.account}/{name}/cpuacct.usage')) / 1e9
        lines = [line.split() for line in _read(f'{self.account}/{name}/cpu.stat').splitlines()]
        return int(dict(lines)['usage_usec']) / 1e6

    def processes(self, name):
        """Who runs on that host."""
        try:
            return [int(line) for line in _read(f'{self.account}/{name}/{self.members}').split()]
        except OSError:
            return []

    def peak_memory_kib(self, name):
        """The sum of the peaks of resident memory of whoever runs on that host."""
        return sum(_peak_kib(process) for process in self.processes(name))

    def kill(self, name):
        """Ends every process of that host, at once."""
        for process in self.processes(name):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def kill_all(self):
        """Ends every process of every host, also of hosts of a run that was killed; waits until they are gone, 5 s at most."""
        until = time.monotonic() + 5
        names = [name for name in self._names_there() if name != HARNESS]
        while any(self.processes(name) for name in names) and time.monotonic() < until:
            for name in names:
                self.kill(name)
            time.sleep(0.02)

    def _groups_of_harness(self):
        """The directories of the groups that the harness is in."""
        lines = [line.split(':', 2) for line in _read('/proc/self/cgroup').splitlines()]
        within = {controller: path for _, controllers, path in lines for controller in controllers.split(',')}
        tops = {'cpuacct': self.account, 'cpu': self.share} if self.is_split else {'': self.account}
        return [os.path.dirname(top) + within.get(controller, '/') for controller, top in tops.items()]

    def _names_there(self):
        try:
            return [entry.name for entry in os.scandir(self.account) if entry.is_dir()]
        except FileNotFoundError:
            return []


def _peak_kib(process):
    try:
        lines = [line.split() for line in _read(f'/proc/{process}/status').splitlines()]
    except OSError:
        return 0
    return sum(int(line[1]) for line in lines if line[:1] == ['VmHWM:'])


def _read(path):
    with open(path) as file:
        return file.read()


def _write(path, text):
    with open(path, 'w') as file:
        file.write(text)


def _try_to_write(path, text):
    try:
        _write(path, text)
    except OSError:
        pass


def _try_to_remove(path):
    try:
        os.rmdir(path)
    except OSError:
        pass
