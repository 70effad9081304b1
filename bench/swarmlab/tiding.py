"""tiding in the laboratory, by the release binary with its default flags: TLS, verification and signatures are on.

An origin runs on host 0 and an agent on every other one; all have joined and are idle before t0, and know nothing of what will be
published. At t0 the publisher starts on host 0, `tiding deploy payload --to /srv/payload`, so reading, cutting, hashing and signing
count.

A host is done when its agent logs `phase: Complete`: every piece is verified and written, and the content durable. Laying it out and
switching come after that and do not count. The moment is the log line's own, held against the wall clock at t0; what is checked
after the run is the content's file in the agent's store.

TIDING_BIN names the binary. For developers: SWL_LOG is the nodes' TIDING_LOG, and SWL_PERF a file for a profile (`perf record`) of
the whole machine's first five seconds.
"""
import datetime
import glob
import json
import os
import re
import subprocess
import threading
import time

from drivers import Base
from swarmlab_api import ENV, Proc, hostid, ip_of

HERE = os.path.dirname(os.path.abspath(__file__))
TIDING = os.path.abspath(os.environ.get('TIDING_BIN') or f'{HERE}/../../target/release/tiding')
PORT = 7443
COMPLETE = re.compile(rb'^(\S+)Z .*AppName\("payload"\).*phase: Complete')
# Seconds between two looks at the logs; the times are the log's, so this only delays the end of a run.
LOOK = 0.02


class Tiding(Base):
    """An origin, agents, and a publisher that starts at t0."""

    def __init__(self, lab):
        super().__init__(lab)
        self.lab = lab
        self.operator = f'{lab.work}/operator'
        self.completed = {}
        self.is_over = False

    def prepare(self):
        if not os.access(TIDING, os.X_OK):
            raise RuntimeError('there is no tiding binary; cargo build --release makes it, and TIDING_BIN may name another one')

    def pre(self):
        return [self.node(0, ['up', '--operator-home', self.operator])]

    def ready(self):
        """The origin gives a join line as soon as it is up."""
        self.line = within(60, lambda: self.ask(['token', '--uses', str(self.lab.n)])['line'])

    def recv(self):
        deploy = [TIDING, 'deploy', self.lab.src, '--to', '/srv/payload', '--operator-home', self.operator, '--json']
        agents = [self.node(host, ['join', self.line]) for host in range(1, self.lab.n)]
        return agents + [Proc(0, deploy, gated=True, tag='deploy')]

    def armed(self):
        """The origin knows everyone; a little later the neighbours know each other as well."""
        within(120, self.everyone_is_up)
        time.sleep(2 + 0.05 * self.lab.n)
        self.read = {host: os.path.getsize(self.log(host)) for host in range(1, self.lab.n)}
        threading.Thread(target=self.watch, daemon=True).start()

    def go(self):
        self.t0 = time.time()
        if 'SWL_PERF' in os.environ:
            record = ['perf', 'record', '-a', '-F', '299', '-g', '-o', os.environ['SWL_PERF'], '--', 'sleep', '5']
            subprocess.Popen(record, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def time(self, host, seen):
        return self.completed[host] - self.t0 if host in self.completed else seen

    def finish(self):
        """When everything was live by the deploy's own report, in milliseconds; nothing when there is none after 20 s."""
        self.is_over = True
        try:
            nodes = within(20, self.report)['nodes']
        except (RuntimeError, OSError, ValueError, LookupError):
            return {}
        return {what: max(node.get(what) or 0 for node in nodes) for what in ('first_byte_ms', 'complete_ms', 'live_ms')}

    def out(self, host):
        contents = glob.glob(f'{self.home(host)}/store/blobs/*.pieces')
        return next((path for path in contents if os.path.getsize(path) == self.lab.size), self.home(host))

    # What those are made of.

    def home(self, host):
        return f'{self.lab.dir(host)}/home'

    def log(self, host):
        return f'{self.lab.work}/log-{hostid(host)}-{os.path.basename(TIDING)}'

    def node(self, host, words):
        """A node with its own home and root, and nothing of the machine's configuration."""
        root = f'{self.lab.dir(host)}/root'
        os.makedirs(root, exist_ok=True)
        every = ['--config', '/dev/null', '--json', '--name', hostid(host), '--listen', f'{ip_of(host)}:{PORT}',
                 '--home', self.home(host), '--root', root]
        env = {'TIDING_LOG': os.environ['SWL_LOG']} if 'SWL_LOG' in os.environ else {}
        return Proc(host, [TIDING] + words + every, env=env)

    def ask(self, words):
        """The answer of an operator's command on host 0; RuntimeError with what it said when it fails."""
        with self.lab.net.inside(hostid(0)):
            asked = subprocess.run([TIDING] + words + ['--operator-home', self.operator, '--json'], capture_output=True, text=True,
                                   env=dict(ENV, HOME=self.lab.work), timeout=60)
        if asked.returncode:
            raise RuntimeError(f'tiding {words[0]}: {asked.stderr.strip()}')
        return json.loads(asked.stdout)

    def everyone_is_up(self):
        agents = [node for node in self.ask(['status'])['nodes'] if node['role'] == 'agent' and node['up']]
        if len(agents) < self.lab.n - 1:
            raise RuntimeError(f'{len(agents)} of {self.lab.n - 1} agents joined')
        return agents

    def report(self):
        with open(f'{self.log(0)}-deploy') as said:
            return json.loads([line for line in said if line.startswith('{')][-1])

    def watch(self):
        """Reads the agents' logs until the run is over, and passes on who is done."""
        while not self.is_over:
            for host in self.read.keys() - self.completed.keys():
                try:
                    found = self.completed_at(host)
                    if found is not None:
                        self.completed[host] = found
                        with open(self.lab.donefifo, 'w') as done:
                            done.write(f'{host}\n')
                except OSError:
                    return
            time.sleep(LOOK)

    def completed_at(self, host):
        """When the host was done, in seconds of the wall clock, if it has said so since the last look."""
        with open(self.log(host), 'rb') as log:
            log.seek(self.read[host])
            lines = log.read()
        whole = lines[:lines.rfind(b'\n') + 1]
        self.read[host] += len(whole)
        found = next(filter(None, map(COMPLETE.match, whole.splitlines())), None)
        return datetime.datetime.fromisoformat(found[1].decode() + '+00:00').timestamp() if found else None


def within(seconds, attempt):
    """What `attempt` gives as soon as it does not fail; its last error when that takes too long."""
    until = time.time() + seconds
    while True:
        try:
            return attempt()
        except (RuntimeError, ValueError, LookupError):
            if time.time() > until:
                raise
            time.sleep(0.05)


DRIVERS = {'tiding': Tiding}
