#!/usr/bin/python3
"""swarmlab - a small, honest broadcast benchmark for content-distribution tools.

N network namespaces (h0..hN-1; h0 is the seed) hang on one bridge.  The bridge and its
ports live in a namespace of their own, so no interface of the machine is touched.  Each
veth is limited in both directions by TBF (in the host namespace: what the host sends; on
the bridge port: what the host receives).  Stdlib only.  Root needed.

  swarmlab.py run --driver curl --n 16 --rate 100 --size 64M [--store tmpfs|disk] [--runs 3]
  swarmlab.py selftest --n 4 --rate 100        (iperf3 over the lab: is the shaping right?)
  swarmlab.py clean                            (remove what a killed run left)
"""
import argparse, ctypes, fcntl, glob, hashlib, json, math, os, re, resource, select, selectors, shutil
import signal, socket, statistics, struct, subprocess, sys, time, urllib.request, http.client, threading
HERE = os.path.dirname(os.path.abspath(__file__))
PFX = 'swl-'
CG = '/sys/fs/cgroup/cpuacct/swl'
CPUG = '/sys/fs/cgroup/cpu/swl'      # all lab processes, with a very high share: foreign load cannot starve them
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PIECE = 256 << 10
ENV = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': '/nonexistent', 'LANG': 'C'}

def sh(cmd, check=True, inp=None):
    r = subprocess.run(cmd, shell=isinstance(cmd, str), input=inp, capture_output=True, text=True, env=ENV)
    if check and r.returncode: raise RuntimeError(f'{cmd}: {r.stderr}')
    return r.stdout

def parse_size(s):
    m = re.fullmatch(r'(\d+)([KMG]?)', s); return int(m[1]) << {'': 0, 'K': 10, 'M': 20, 'G': 30}[m[2]]

def ip_of(i): return f'10.77.{(i+1)>>8}.{(i+1)&255}'
TRACKER_IP = '10.77.255.1'

# ------------------------------------------------------------------ network
class Net:
    """N shaped hosts plus one unshaped host 'trk' (control plane: tracker)."""
    def __init__(self, n, rate, cc='cubic', qbytes=512 << 10, burst=32 << 10, mtu=1500):
        self.n, self.rate, self.cc, self.q, self.burst, self.mtu = n, rate, cc, qbytes, burst, mtu
        self.fd = {}
    def up(self):
        names = [f'h{i}' for i in range(self.n)] + ['trk']
        for x in ['br'] + names: sh(['ip', 'netns', 'add', PFX + x])
        sh(['ip', '-n', PFX + 'br', 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0'])
        sh(['ip', '-n', PFX + 'br', 'link', 'set', 'br0', 'up'])
        for k, x in enumerate(names):
            ip = ip_of(k) if x != 'trk' else TRACKER_IP
            b = (f'link add eth0 mtu {self.mtu} type veth peer name p-{x} mtu {self.mtu} netns {PFX}br\n'
                 f'addr add {ip}/16 brd + dev eth0\nlink set lo up\nlink set eth0 up\n'
                 f'route add 224.0.0.0/4 dev eth0\n')
            sh(['ip', '-n', PFX + x, '-b', '-'], inp=b)
        b = ''.join(f'link set p-{x} master br0\nlink set p-{x} up\n' for x in names)
        sh(['ip', '-n', PFX + 'br', '-b', '-'], inp=b)
        if self.rate:
            tb = f'tbf rate {self.rate}mbit burst {self.burst} limit {self.q}'
            for x in names[:-1]: sh(f'tc -n {PFX}{x} qdisc add dev eth0 root {tb}')
            sh(['tc', '-n', PFX + 'br', '-b', '-'], inp=''.join(f'qdisc add dev p-{x} root {tb}\n' for x in names[:-1]))
        self.root = os.open('/proc/self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        for x in ['br'] + names: self.fd[x] = os.open(f'/run/netns/{PFX}{x}', os.O_RDONLY | os.O_CLOEXEC)
        for x in names:
            with self.inside(x):
                for k, v in (('net.ipv4.tcp_congestion_control', self.cc), ('net.ipv6.conf.all.disable_ipv6', '0')):
                    try: open('/proc/sys/' + k.replace('.', '/'), 'w').write(v)
                    except OSError: pass
        with self.inside('br'):
            for k in ('iptables', 'ip6tables', 'arptables'):
                try: open(f'/proc/sys/net/bridge/bridge-nf-call-{k}', 'w').write('0')
                except OSError: pass
            try: open('/proc/sys/net/ipv6/conf/all/disable_ipv6', 'w').write('1')
            except OSError: pass
        self.warm_arp()
    def warm_arp(self):       # static neighbours: no ARP noise inside the timed run
        macs = {}
        names = [f'h{i}' for i in range(self.n)] + ['trk']
        for x in names:
            j = json.loads(sh(['ip', '-n', PFX + x, '-j', 'link', 'show', 'eth0'])); macs[x] = j[0]['address']
        for x in names:
            b = ''.join(f'neigh replace {ip_of(int(y[1:])) if y != "trk" else TRACKER_IP} lladdr {macs[y]} dev eth0 nud permanent\n' for y in names if y != x)
            sh(['ip', '-n', PFX + x, '-b', '-'], inp=b)
    def inside(self, x):
        net = self
        class C:
            def __enter__(s):
                if libc.setns(net.fd[x], CLONE_NEWNET): raise OSError(ctypes.get_errno(), 'setns')
            def __exit__(s, *a):
                if libc.setns(net.root, CLONE_NEWNET): os._exit(99)
        return C()
    def counters(self):
        j = json.loads(sh(['ip', '-n', PFX + 'br', '-s', '-j', 'link']))
        r = {}
        for l in j:
            if l['ifname'].startswith('p-'):
                s = l['stats64']; r[l['ifname'][2:]] = (s['rx']['bytes'], s['tx']['bytes'], s['rx']['packets'], s['tx']['packets'], s['tx']['dropped'])
        return r        # per host: (bytes it sent, bytes it received, packets..., drops at its port)
    def qdrops(self):
        if not self.rate: return 0
        d = 0
        for l in json.loads(sh(['tc', '-n', PFX + 'br', '-s', '-j', 'qdisc', 'show'])):
            if l.get('kind') == 'tbf': d += l.get('drops', 0)
        return d

def clean_ns():
    for p in glob.glob(f'/run/netns/{PFX}*'):
        subprocess.run(['ip', 'netns', 'del', os.path.basename(p)], capture_output=True)
    for d in sorted(glob.glob(CG + '/*/')):
        try: os.rmdir(d)
        except OSError: pass
    for d in (CG, CPUG):
        try: os.rmdir(d)
        except OSError: pass

# ------------------------------------------------------------------ cpu
def stat_cpu():
    f = open('/proc/stat').readline().split()[1:9]
    return [int(x) / os.sysconf('SC_CLK_TCK') for x in f]   # user nice system idle iowait irq softirq steal
def wait_quiet(limit, thresh=0.12):
    t = time.time(); last = None
    while True:
        a = stat_cpu(); time.sleep(1.0); b = stat_cpu()
        d = [y - x for x, y in zip(a, b)]; busy = 1 - (d[3] + d[4]) / max(sum(d), 1e-9)
        if busy < thresh or time.time() - t > limit: return round(busy, 3), round(time.time() - t, 1)

# ------------------------------------------------------------------ context and processes
class Proc:
    def __init__(s, host, argv, gated=False, done=None, env=None, tag=None):
        s.host, s.argv, s.gated, s.done, s.env, s.tag = host, argv, gated, done, env or {}, tag
        s.p = None; s.pidfd = None; s.maxrss = 0; s.rc = None
class Ctx:
    pass

def hostid(x): return x if isinstance(x, str) else f'h{x}'

def spawn(ctx, pr):
    log = open(f'{ctx.work}/log-{hostid(pr.host)}-{os.path.basename(pr.argv[0])}{"-" + pr.tag if pr.tag else ""}', 'ab')
    cg = f'{CG}/{hostid(pr.host)}/tasks'
    if pr.gated: cmd = ['/bin/sh', '-c', f'echo $$ > {cg}; echo $$ > {CPUG}/tasks; read _ < {ctx.gate}; exec "$@"', 'sh'] + pr.argv
    else: cmd = ['/bin/sh', '-c', f'echo $$ > {cg}; echo $$ > {CPUG}/tasks; exec "$@"', 'sh'] + pr.argv
    with ctx.net.inside(hostid(pr.host)):
        env = dict(ENV, HOME=f'{ctx.work}', SWL_HOST=str(pr.host), SWL_DONE=ctx.donefifo, SWL_GATE=ctx.gate, **pr.env)
        pr.p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                cwd=ctx.dir(pr.host), env=env)
    log.close()
    pr.pidfd = os.pidfd_open(pr.p.pid)
    ctx.procs.append(pr)

def vmhwm(pid):
    try:
        m = re.search(r'VmHWM:\s+(\d+)', open(f'/proc/{pid}/status').read()); return int(m[1]) if m else 0
    except OSError: return 0
def sid_pids(sid):
    out = []
    for p in os.listdir('/proc'):
        if p.isdigit():
            try:
                f = open(f'/proc/{p}/stat').read().rsplit(')', 1)[1].split()
                if int(f[3]) == sid: out.append(int(p))
            except OSError: pass
    return out

def make_file(path, size, seed=1):
    """deterministic incompressible content (SHAKE would be slow: AES-like stream from openssl)."""
    if os.path.exists(path) and os.path.getsize(path) == size: return
    subprocess.run(f"openssl enc -aes-128-ctr -nosalt -K {seed:032x} -iv {0:032x} -in /dev/zero 2>/dev/null | head -c {size} > {path}", shell=True, check=True)

def sha256(path):
    h = hashlib.sha256(); b = bytearray(1 << 20); mv = memoryview(b)
    with open(path, 'rb', buffering=0) as f:
        while True:
            k = f.readinto(b)
            if not k: break
            h.update(mv[:k])
    return h.hexdigest()

def benc(x):
    if isinstance(x, int): return b'i%de' % x
    if isinstance(x, str): x = x.encode()
    if isinstance(x, bytes): return b'%d:' % len(x) + x
    if isinstance(x, list): return b'l' + b''.join(map(benc, x)) + b'e'
    if isinstance(x, dict): return b'd' + b''.join(benc(k) + benc(x[k]) for k in sorted(x)) + b'e'
def make_torrent(path, out, piece=PIECE, announce=f'http://{TRACKER_IP}:6969/announce', private=0):
    ps = []
    with open(path, 'rb') as f:
        while b := f.read(piece): ps.append(hashlib.sha1(b).digest())
    info = {'name': 'payload', 'piece length': piece, 'length': os.path.getsize(path), 'pieces': b''.join(ps)}
    if private: info['private'] = 1
    d = {'info': info}
    if announce: d['announce'] = announce
    open(out, 'wb').write(benc(d)); return hashlib.sha1(benc(info)).hexdigest()

def wait_port(ctx, host, port, limit=20):
    t = time.time()
    while time.time() - t < limit:
        with ctx.net.inside(hostid(host)):
            s = socket.socket()
        try:
            s.settimeout(1)
            with ctx.net.inside(hostid(host)): s.connect(('127.0.0.1', port))
            s.close(); return
        except OSError: s.close(); time.sleep(0.05)
    raise RuntimeError(f'port {port} on {host} not up')

# ------------------------------------------------------------------ drivers
sys.path.insert(0, HERE)

def one_run(a, D, idx):
    ctx = Ctx(); ctx.a = a; ctx.n = a.n; ctx.procs = []; ctx.size = parse_size(a.size); ctx.rate = a.rate
    base = {'tmpfs': '/dev/shm/swl', 'disk': f'{HERE}/run'}[a.store]
    shutil.rmtree(base, ignore_errors=True); os.makedirs(base)
    ctx.base = base; ctx.work = f'{base}/work'; os.makedirs(ctx.work)
    ctx.dir = lambda h: f'{base}/{hostid(h)}'
    for i in list(range(a.n)) + ['trk']: os.makedirs(ctx.dir(i))
    ctx.gate = f'{ctx.work}/gate'; ctx.donefifo = f'{ctx.work}/done'
    os.mkfifo(ctx.gate); os.mkfifo(ctx.donefifo); os.chmod(ctx.donefifo, 0o666)
    ctx.hook = f'{ctx.work}/hook.sh'
    open(ctx.hook, 'w').write('#!/bin/sh\necho $SWL_HOST > $SWL_DONE\n'); os.chmod(ctx.hook, 0o755)
    ctx.donefd = os.open(ctx.donefifo, os.O_RDWR | os.O_NONBLOCK)
    cache = f'/dev/shm/swl-src-{ctx.size}'; make_file(cache, ctx.size)
    ctx.src = f'{ctx.dir(0)}/payload'; shutil.copyfile(cache, ctx.src)
    want = sha256(ctx.src)
    ctx.net = Net(a.n, a.rate, cc=a.cc)
    res = {'driver': a.driver, 'n': a.n, 'rate': a.rate, 'size': ctx.size, 'store': a.store, 'cc': a.cc, 'idx': idx,
           'when': time.strftime('%H:%M:%S')}
    try:
        clean_ns(); os.makedirs(CG, exist_ok=True); os.makedirs(CPUG, exist_ok=True)
        open(CPUG + '/cpu.shares', 'w').write('200000')
        open(CPUG + '/tasks', 'w').write(str(os.getpid()))
        for h in [f'h{i}' for i in range(a.n)] + ['trk']: os.makedirs(f'{CG}/{h}', exist_ok=True)
        ctx.net.up()
        if a.slow:
            k, rt = a.slow.split(':'); tb = f'tbf rate {rt}mbit burst {ctx.net.burst} limit {ctx.net.q}'; res['slow'] = a.slow
            sh(f'tc -n {PFX}h{k} qdisc replace dev eth0 root {tb}'); sh(f'tc -n {PFX}br qdisc replace dev p-h{k} root {tb}')
        drv = D(ctx)
        ctx.torrent = f'{ctx.work}/payload.torrent'
        drv.prepare()
        for pr in drv.pre(): spawn(ctx, pr)
        drv.ready()
        pend = {}
        for pr in drv.recv(): spawn(ctx, pr)
        for i in range(1, a.n): pend[i] = 1
        kill = None
        if a.kill: k, ks = a.kill.split(':'); kill = (int(k), float(ks)); pend.pop(int(k)); res['kill'] = a.kill
        time.sleep(0.5 + 0.01 * a.n)
        drv.armed()
        for pr in ctx.procs:
            if pr.p.poll() is not None: raise RuntimeError(f'{pr.argv[:2]} on {pr.host} died early rc={pr.p.returncode}')
        res['pre_busy'], res['pre_wait'] = wait_quiet(a.quiet)
        res['load1'] = os.getloadavg()[0]
        sel = selectors.DefaultSelector(); sel.register(ctx.donefd, selectors.EVENT_READ, 'fifo')
        for pr in ctx.procs:
            if pr.done == 'exit': sel.register(pr.pidfd, selectors.EVENT_READ, pr)
        def cpuacct():
            r = {}
            for h in [f'h{i}' for i in range(a.n)] + ['trk']: r[h] = int(open(f'{CG}/{h}/cpuacct.usage').read()) / 1e9
            return r
        c0 = ctx.net.counters(); q0 = ctx.net.qdrops(); cg0 = cpuacct(); s0 = stat_cpu(); me0 = time.process_time()
        t0 = time.monotonic()
        g = os.open(ctx.gate, os.O_RDWR | os.O_NONBLOCK)   # opens the gate for every blocked reader
        os.write(g, b'\n' * (a.n + 8)); drv.go()
        t = {}
        tp = t0 + 0.3
        while pend and time.monotonic() - t0 < a.timeout:
            if kill and time.monotonic() - t0 > kill[1]:
                for pr in ctx.procs:
                    if pr.host == kill[0] and pr.rc is None:
                        try: os.killpg(pr.p.pid, signal.SIGKILL)
                        except OSError: pass
                kill = None
            if time.monotonic() > tp:        # peak RSS of tools that exit (ru_maxrss would show the launcher's)
                tp = time.monotonic() + 0.5
                for pr in ctx.procs:
                    if pr.done == 'exit' and pr.rc is None: pr.maxrss = max(pr.maxrss, vmhwm(pr.p.pid))
            for key, _ in sel.select(0.05 if kill else 0.25):
                now = time.monotonic() - t0
                if key.data == 'fifo':
                    for w in os.read(ctx.donefd, 65536).split():
                        i = int(w)
                        if i in pend: del pend[i]; t[i] = now
                else:
                    pr = key.data; sel.unregister(pr.pidfd)
                    pid, st, ru = os.wait4(pr.p.pid, 0); pr.p.returncode = pr.rc = os.waitstatus_to_exitcode(st)
                    if pr.rc == 0 and pr.host in pend: del pend[pr.host]; t[pr.host] = now
                    elif pr.rc: res.setdefault('failed', []).append([pr.host, pr.rc])
        T = time.monotonic() - t0; me1 = time.process_time(); s1 = stat_cpu(); cg1 = cpuacct(); c1 = ctx.net.counters(); q1 = ctx.net.qdrops()
        t = {i: drv.time(i, seen) for i, seen in t.items()}
        extra = {} if a.kill or a.slow else drv.finish()
        os.close(g)
        rss = {}
        for pr in ctx.procs:
            m = pr.maxrss
            if pr.rc is None:
                for q in sid_pids(pr.p.pid): m = max(m, vmhwm(q))
            rss[hostid(pr.host)] = rss.get(hostid(pr.host), 0) + m
        stop(ctx)
        # verification, one file at a time, so that hashing does not disturb the run
        hv = {}; bad = []
        for i in range(1, a.n):
            if a.kill and i == int(a.kill.split(':')[0]): t.pop(i, None); continue
            if i not in t: bad.append(i); continue
            p = drv.out(i); v = time.monotonic()
            try: ok = os.path.getsize(p) == ctx.size and sha256(p) == want
            except OSError: ok = False
            hv[i] = time.monotonic() - v
            if not ok: bad.append(i); del t[i]
        d = [y - x for x, y in zip(s0, s1)]; tot = sum(d)
        F = ctx.size; M = max(1, math.ceil(F / PIECE))
        ver = sorted(t[i] + hv[i] for i in t); raw = sorted(t.values())
        cg = {h: cg1[h] - cg0[h] for h in cg1}
        rec = sorted(cg[f'h{i}'] for i in range(1, a.n))
        own = sum(cg.values())
        if extra: res['report'] = extra
        res.update(ok=not bad, bad=bad, T=round(T, 3), own_util=round(own / (T * os.cpu_count()), 3), times=[round(x, 3) for x in ver],
            tmin=round(ver[0], 3) if ver else None, tmed=round(statistics.median(ver), 3) if ver else None, tmax=round(ver[-1], 3) if ver else None,
            tmax_done=round(raw[-1], 3) if raw else None, hash_s=round(statistics.median(hv.values()), 4) if hv else None,
            seed_tx=c1['h0'][0] - c0['h0'][0], all_tx=sum(c1[f'h{i}'][0] - c0[f'h{i}'][0] for i in range(a.n)),
            all_rx=sum(c1[f'h{i}'][1] - c0[f'h{i}'][1] for i in range(a.n)), drops=q1 - q0,
            pkts=sum(c1[f'h{i}'][2] - c0[f'h{i}'][2] for i in range(a.n)),
            busy=round(1 - (d[3] + d[4]) / tot, 3), steal=round(d[7] / tot, 3), softirq_s=round(d[6] + d[5], 3), busy_s=round(tot - d[3] - d[4], 3),
            own_s=round(own, 3), harness_s=round(me1 - me0, 3), foreign_s=round((d[0] + d[1] + d[2]) - own - (me1 - me0), 3),
            cpu_seed=round(cg['h0'], 3), cpu_rec_med=round(statistics.median(rec), 3), cpu_rec_max=round(rec[-1], 3), cpu_trk=round(cg['trk'], 3),
            rss_seed=rss.get('h0', 0), rss_rec_max=max(rss.get(f'h{i}', 0) for i in range(1, a.n)))
        if a.slow: k = int(a.slow.split(':')[0]); res['tmax_healthy'] = round(max([t[i] for i in t if i != k] or [0]), 3); res['t_slow'] = round(t.get(k, -1), 3)
        gib = F * (a.n - 1) / (1 << 30)
        res['cpu_s_per_gib'] = round(own / gib, 3); res['sys_s_per_gib'] = round(res['busy_s'] / gib, 3)
        res['agg_gbps'] = round(F * (a.n - 1) * 8 / 1e9 / raw[-1], 3) if raw and not bad else None
        if a.rate and ver:
            fr = F * 8 / (a.rate * 1e6); opt = (M + math.ceil(math.log2(a.n)) - 1) * fr / M
            res.update(F_over_R=round(fr, 3), T_opt=round(opt, 3), M=M, ratio_FR=round(ver[-1] / fr, 3), ratio_opt=round(ver[-1] / opt, 3),
                       ratio_med=round(ver[len(ver) // 2] / fr, 3))
    finally:
        stop(ctx)
        try: open('/sys/fs/cgroup/cpu/tasks', 'w').write(str(os.getpid()))
        except OSError: pass
        clean_ns()
        os.close(ctx.donefd)
        if not a.keep: shutil.rmtree(base, ignore_errors=True)
    return res

def stop(ctx):
    live = [pr for pr in ctx.procs if pr.rc is None]
    for pr in live:
        try: os.killpg(pr.p.pid, signal.SIGKILL)
        except OSError: pass
    for pr in live:
        try: pr.p.wait(5); pr.rc = pr.p.returncode
        except Exception: pass
    for pr in ctx.procs:
        if pr.pidfd is not None:
            try: os.close(pr.pidfd)
            except OSError: pass
            pr.pidfd = None
    ctx.procs = [p for p in ctx.procs if p.rc is None]
    # anything a daemon left outside its session is still in our cgroup: end exactly those pids
    for f in glob.glob(CG + '/*/tasks'):
        try:
            for p in open(f).read().split(): os.kill(int(p), signal.SIGKILL)
        except OSError: pass
    time.sleep(0.1)

def line(r):
    if not r.get('ok'): return f"{r['driver']:14s} {r.get('slow') or ''} {r.get('kill') or ''} n={r['n']} R={r['rate']} FAILED bad={len(r.get('bad',[]))} {r.get('failed')} {r.get('error','')} T={r.get('T')}"
    x = f" [slow {r['slow']}: healthy max {r['tmax_healthy']} slow host {r['t_slow']}]" if r.get('slow') else f" [kill {r['kill']}]" if r.get('kill') else ''
    return (f"{r['driver']:14s}{x} n={r['n']:2d} R={r['rate']:4d} F={r['size']>>20}M {r['store']:5s} min {r['tmin']:7.2f} med {r['tmed']:7.2f} max {r['tmax']:7.2f}"
            f" x{r.get('ratio_opt') or 0:6.3f} (F/R x{r.get('ratio_FR') or 0:6.3f}) seed_tx {r['seed_tx']/r['size']:5.2f}F all_tx {r['all_tx']/r['size']/(r['n']-1):5.3f}F/rcv"
            f" busy {r['busy']*100:3.0f}% own {r['own_util']*100:3.0f}% cpu/GiB own {r['cpu_s_per_gib']:.2f} sys {r['sys_s_per_gib']:.2f} foreign {r['foreign_s']:.2f}s steal {r['steal']*100:.0f}% rss {r['rss_seed']>>10}/{r['rss_rec_max']>>10}M"
            f" drops {r['drops']} pre {r['pre_busy']*100:.0f}%")

def main():
    ap = argparse.ArgumentParser(); sp = ap.add_subparsers(dest='cmd', required=True)
    r = sp.add_parser('run')
    for p in (r, s := sp.add_parser('selftest')):
        p.add_argument('--n', type=int, default=16); p.add_argument('--rate', type=int, default=100); p.add_argument('--cc', default='cubic')
    r.add_argument('--driver', required=True); r.add_argument('--size', default='64M'); r.add_argument('--store', default='tmpfs')
    r.add_argument('--runs', type=int, default=1); r.add_argument('--timeout', type=float, default=120); r.add_argument('--quiet', type=float, default=60)
    r.add_argument('--out', default=f'{HERE}/results.jsonl'); r.add_argument('--keep', action='store_true'); r.add_argument('--opt', action='append', default=[])
    r.add_argument('--slow', help='K:RATE - host K gets RATE Mbit/s in both directions (straggler test)')
    r.add_argument('--kill', help='K:SECONDS - host K loses all its processes that long after t0 (failure test; K is then not waited for)')
    sp.add_parser('clean'); a = ap.parse_args()
    lk = open('/run/swarmlab.lock', 'w'); fcntl.flock(lk, fcntl.LOCK_EX)
    if a.cmd == 'clean': clean_ns(); return
    def bye(*_): raise SystemExit('swarmlab: stopped')
    for s_ in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM): signal.signal(s_, bye)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try: os.nice(-10)
    except OSError: pass
    if a.cmd == 'selftest': return selftest(a)
    a.opts = dict(o.split('=', 1) for o in a.opt)
    from drivers import DRIVERS
    for extra in filter(None, os.environ.get('SWL_EXTRA', '').split(':')):      # more drivers, kept elsewhere
        scope = {'__file__': os.path.abspath(extra), '__name__': 'extra'}
        exec(compile(open(extra).read(), extra, 'exec'), scope); DRIVERS.update(scope['DRIVERS'])
    for k in range(a.runs):
        signal.alarm(int(a.timeout + a.quiet + 120))          # hard bound
        try: res = one_run(a, DRIVERS[a.driver.split(':')[0]], k)
        except Exception as e:
            import traceback; traceback.print_exc(); res = {'driver': a.driver, 'n': a.n, 'rate': a.rate, 'ok': False, 'error': str(e)}
        signal.alarm(0)
        if a.opts: res['opts'] = a.opts
        with open(a.out, 'a') as f: f.write(json.dumps(res) + '\n')
        print(line(res), flush=True)

def selftest(a):
    net = Net(a.n, a.rate, cc=a.cc); ps = []
    try:
        clean_ns(); net.up()
        for i in range(a.n):
            with net.inside(f'h{i}'): ps.append(subprocess.Popen(['iperf3', '-s', '-1'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(0.7); cl = []
        for i in range(a.n):      # ring: every host sends and receives at the full rate at once
            with net.inside(f'h{i}'): cl.append(subprocess.Popen(['iperf3', '-J', '-t', '5', '-O', '1', '-c', ip_of((i + 1) % a.n)], stdout=subprocess.PIPE, text=True))
        s0 = stat_cpu(); time.sleep(4.5); s1 = stat_cpu(); d = [y - x for x, y in zip(s0, s1)]
        v = []
        for c in cl:
            j = json.loads(c.communicate()[0]); v.append(j['end']['sum_received']['bits_per_second'] / 1e6)
        print(f'ring of {a.n} flows at {a.rate} Mbit/s: goodput min {min(v):.1f} med {statistics.median(v):.1f} max {max(v):.1f} Mbit/s; cpu busy {100*(1-(d[3]+d[4])/sum(d)):.0f}%')
    finally:
        for p in ps: p.kill()
        clean_ns()
if __name__ == '__main__': main()
