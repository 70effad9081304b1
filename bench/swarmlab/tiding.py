"""tiding in the laboratory: an origin on h0, an agent on every other host, joined and idle before t0, knowing nothing of
the content. At t0 the publisher starts on h0 (`tiding deploy payload --to /srv/payload`, default flags: TLS,
verification and signatures on), so reading, cutting, hashing and signing count.

A host is done when its agent says `phase: Complete` in its log: every piece verified, written and synced, the content
durable. The moment is the log line's own time stamp, held against the wall clock at t0; laying the tree out and
switching come after that and are not in it. What is hashed after the run is the content's file in the agent's store."""
import datetime, glob, json, os, re, subprocess, threading, time
import swarmlab_api as L
from drivers import Base

BIN = os.environ.get('TIDING_BIN') or os.path.abspath(os.path.join(os.path.dirname(__file__), '../../target/release/tiding'))
PORT = 7443
COMPLETE = re.compile(rb'^(\S+)Z .*AppName\("payload"\).*phase: Complete')


class Tiding(Base):
    """The release binary with its default flags."""

    def home(s, i): return f'{s.c.dir(i)}/home'
    def operator(s): return f'{s.c.work}/operator'
    def log(s, i): return f'{s.c.work}/log-{L.hostid(i)}-{os.path.basename(BIN)}'

    def node(s, i, words):
        os.makedirs(f'{s.c.dir(i)}/root', exist_ok=True)
        common = ['--config', '/dev/null', '--json', '--name', L.hostid(i), '--listen', f'{L.ip_of(i)}:{PORT}',
                  '--home', s.home(i), '--root', f'{s.c.dir(i)}/root']
        return L.Proc(i, [BIN] + words + common, env={'TIDING_LOG': os.environ['SWL_LOG']} if 'SWL_LOG' in os.environ else {})

    def ask(s, words):
        with s.c.net.inside('h0'):
            answer = subprocess.run([BIN] + words + ['--operator-home', s.operator(), '--json'],
                                    env=dict(L.ENV, HOME=s.c.work), capture_output=True, text=True, timeout=60)
        if answer.returncode: raise RuntimeError(f'tiding {words[0]}: {answer.stderr}')
        return json.loads(answer.stdout)

    def prepare(s):
        s.t0 = None; s.gone = False; s.completed = {}; s.deploy = None

    def pre(s):
        return [s.node(0, ['up', '--operator-home', s.operator()])]

    def ready(s):
        until = time.time() + 60
        while True:
            try: s.line = s.ask(['token', '--uses', str(s.c.n)])['line']; return
            except (RuntimeError, ValueError):
                if time.time() > until: raise
                time.sleep(0.05)

    def recv(s):
        deploy = L.Proc(0, [BIN, 'deploy', s.c.src, '--to', '/srv/payload', '--operator-home', s.operator(), '--json'],
                        gated=True, tag='deploy')
        return [s.node(i, ['join', s.line]) for i in range(1, s.c.n)] + [deploy]

    def armed(s):
        """Everyone is known to the origin; a little later the neighbours know each other as well."""
        until = time.time() + 120
        while True:
            up = [node for node in s.ask(['status'])['nodes'] if node['up'] and node['role'] == 'agent']
            if len(up) == s.c.n - 1: break
            if time.time() > until: raise RuntimeError(f'{len(up)} of {s.c.n - 1} agents joined')
            time.sleep(0.1)
        time.sleep(2 + 0.05 * s.c.n)
        s.at = {i: os.path.getsize(s.log(i)) for i in range(1, s.c.n)}
        threading.Thread(target=s.watch, daemon=True).start()

    def go(s):
        s.t0 = time.time()
        if 'SWL_PERF' in os.environ:      # a profile of the whole machine while it spreads
            subprocess.Popen(['perf', 'record', '-a', '-F', '299', '-g', '-o', os.environ['SWL_PERF'], '--', 'sleep', '5'],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def watch(s):
        """Reads what the agents log, and tells the harness who is done."""
        while not s.gone:
            for i in list(s.at):
                if i in s.completed: continue
                try: found = s.look(i)
                except OSError: return
                if found is not None:
                    s.completed[i] = found
                    with open(s.c.donefifo, 'w') as to: to.write(f'{i}\n')
            time.sleep(0.02)

    def look(s, i):
        with open(s.log(i), 'rb') as log:
            log.seek(s.at[i]); text = log.read()
        end = text.rfind(b'\n') + 1
        s.at[i] += end
        for line in text[:end].splitlines():
            found = COMPLETE.match(line)
            if found:
                stamp = datetime.datetime.fromisoformat(found[1].decode() + '+00:00')
                return stamp.timestamp()
        return None

    def time(s, i, seen):
        """When host i was done by its own word, seconds after t0."""
        return s.completed[i] - s.t0 if i in s.completed else seen

    def finish(s):
        """The deploy's own report, when it ends soon after the last host: when everything was live."""
        try:
            log = f'{s.log(0)}-deploy'
            until = time.time() + 20
            while time.time() < until:
                with open(log) as text: lines = [line for line in text if line.startswith('{')]
                if lines:
                    nodes = json.loads(lines[-1])['nodes']
                    return {'live_ms': max((n.get('live_ms') or 0) for n in nodes),
                            'first_byte_ms': max((n.get('first_byte_ms') or 0) for n in nodes),
                            'complete_ms': max((n.get('complete_ms') or 0) for n in nodes)}
                time.sleep(0.05)
        except (OSError, ValueError, KeyError): pass
        finally: s.gone = True
        return {}

    def out(s, i):
        files = [f for f in glob.glob(f'{s.home(i)}/store/blobs/*.pieces') if os.path.getsize(f) == s.c.size]
        return files[0] if files else s.home(i)


DRIVERS = {'tiding': Tiding}
