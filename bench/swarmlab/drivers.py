"""Drivers for swarmlab: one class per tool.  pre(): started before t0; recv(): the receivers
(gated=True: a blocked shell that execs the tool at t0; otherwise the tool itself waits on $SWL_GATE
or is triggered by go()).  done='exit' or the tool writes its host number to $SWL_DONE."""
import os, sys, json, time, socket, http.client, math, shutil, threading
import swarmlab_api as L
HERE = os.path.dirname(os.path.abspath(__file__))

class Base:
    def __init__(s, c): s.c = c; s.o = c.a.opts
    def prepare(s): pass
    def pre(s): return []
    def ready(s): pass
    def recv(s): return []
    def armed(s): pass
    def go(s): pass
    def out(s, i): return f'{s.c.dir(i)}/payload'
    def time(s, i, seen): return seen       # when host i was done, if the tool knows better than the harness
    def finish(s): return {}                # what the tool itself reports after the last host was done

# ---- naive: one nginx (sendfile) and a curl on every host --------------------------------
class Curl(Base):
    def pre(s):
        c = s.c; conf = f'{c.work}/nginx.conf'
        open(conf, 'w').write(f'''daemon off; pid {c.work}/nginx.pid; error_log {c.work}/nginx.err; worker_processes 1; user root;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nopush on; sendfile_max_chunk 1m; server {{ listen 80; root {c.dir(0)}; }} }}''')
        return [L.Proc(0, ['nginx', '-c', conf])]
    def ready(s): L.wait_port(s.c, 0, 80)
    def recv(s): return [L.Proc(i, ['curl', '-sf', '-o', s.out(i), f'http://{L.ip_of(0)}/payload'], gated=True, done='exit') for i in range(1, s.c.n)]

class Rsync(Base):
    def pre(s):
        c = s.c; conf = f'{c.work}/rsyncd.conf'
        open(conf, 'w').write(f'pid file={c.work}/rs.pid\nuse chroot=no\nuid=root\ngid=root\nmax connections=0\n[m]\npath={c.dir(0)}\nread only=yes\n')
        return [L.Proc(0, ['rsync', '--daemon', '--no-detach', f'--config={conf}'])]
    def ready(s): L.wait_port(s.c, 0, 873)
    def recv(s): return [L.Proc(i, ['rsync', '-W', '--inplace', f'rsync://{L.ip_of(0)}/m/payload', s.out(i)], gated=True, done='exit') for i in range(1, s.c.n)]

# ---- BitTorrent ---------------------------------------------------------------------------
class BT(Base):
    announce = True
    def prepare(s):
        pl = int(s.o.get('piece', L.PIECE)); s.piece = pl
        s.ih = L.make_torrent(s.c.src, s.c.torrent, piece=pl, announce=f'http://{L.TRACKER_IP}:6969/announce' if s.announce else None)
        os.chmod(s.c.work, 0o755)
    def tracker(s):
        open(f'{s.c.work}/wl', 'w').write(s.ih + '\n')      # Debian's opentracker is built with a whitelist
        return [L.Proc('trk', ['opentracker', '-i', L.TRACKER_IP, '-p', '6969', '-P', '6969', '-d', s.c.work, '-w', 'wl'])]
    def wait_tracker(s): time.sleep(0.3)

class Aria2(BT):
    """aria2c: no DHT/LPD/encryption, PEX on, tracker re-asked every second, seed skips the hash check."""
    def args(s, i, seed):
        a = ['aria2c', '--no-conf', '-q', '--enable-dht=false', '--enable-dht6=false', '--bt-enable-lpd=false', '--enable-peer-exchange=true', '--disable-ipv6=true',
             '--bt-max-peers=0', '--bt-request-peer-speed-limit=1000M', '--seed-ratio=0.0', '--file-allocation=none', '--listen-port=6881', '--bt-tracker-interval=1',
             '--bt-save-metadata=false', '--auto-save-interval=0', '--disk-cache=64M', f'--dir={s.c.dir(i)}']
        a += ['--bt-seed-unverified=true', '--check-integrity=false', '--allow-overwrite=true'] if seed else [f'--on-bt-download-complete={s.c.hook}', '--allow-overwrite=true']
        return a + [s.c.torrent]
    def pre(s): return s.tracker() + [L.Proc(0, s.args(0, True))]
    def ready(s): L.wait_port(s.c, 0, 6881); time.sleep(1.0)
    def recv(s): return [L.Proc(i, s.args(i, False), gated=True) for i in range(1, s.c.n)]

class Libtorrent(BT):
    """libtorrent-rasterbar 2.0.8 through its Python binding; modes: default | tuned."""
    mode = 'tuned'
    @property
    def announce(s): return s.mode == 'default'
    def argv(s, i, role):
        return ['/usr/bin/python3', f'{HERE}/lt_peer.py', role, s.mode, str(i), str(s.c.n), s.c.torrent, s.c.dir(i), json.dumps(s.o)]
    def pre(s):
        return (s.tracker() if s.mode == 'default' else []) + [L.Proc(0, s.argv(0, 'seed'))]
    def ready(s): L.wait_port(s.c, 0, 6881); time.sleep(1.5)
    def recv(s): return [L.Proc(i, s.argv(i, 'peer')) for i in range(1, s.c.n)]
    def armed(s):
        for i in range(1, s.c.n): L.wait_port(s.c, i, 6881)
class LibtorrentDefault(Libtorrent): mode = 'default'

class Transmission(BT):
    """transmission-daemon 3.00: warm daemons, torrent added by RPC at t0; no DHT/LPD/uTP/encryption, 64 upload slots."""
    def pre(s):
        c = s.c; out = s.tracker()
        for i in range(c.n):
            d = f'{c.dir(i)}/cfg'; os.makedirs(d)
            json.dump({'dht-enabled': False, 'lpd-enabled': False, 'utp-enabled': False, 'pex-enabled': True, 'encryption': 0, 'port-forwarding-enabled': False,
                'peer-port': 6881, 'peer-limit-global': 500, 'peer-limit-per-torrent': 200, 'upload-slots-per-torrent': int(s.o.get('slots', 64)), 'preallocation': 0, 'cache-size-mb': 64,
                'rpc-enabled': True, 'rpc-bind-address': '127.0.0.1', 'rpc-authentication-required': False, 'rpc-host-whitelist-enabled': False, 'download-dir': c.dir(i),
                'speed-limit-up-enabled': False, 'speed-limit-down-enabled': False, 'ratio-limit-enabled': False, 'idle-seeding-limit-enabled': False, 'queue-stalled-enabled': False, 'download-queue-enabled': False,
                'script-torrent-done-enabled': i > 0, 'script-torrent-done-filename': c.hook, 'start-added-torrents': True, 'trash-original-torrent-files': False}, open(d + '/settings.json', 'w'))
            out.append(L.Proc(i, ['transmission-daemon', '-f', '-g', d]))
        return out
    def rpc(s, i):
        with s.c.net.inside(f'h{i}'):
            k = http.client.HTTPConnection('127.0.0.1', 9091, timeout=20); k.connect()
        return k
    def ready(s):
        c = s.c; s.k = {}; s.sid = {}
        for i in range(c.n): L.wait_port(c, i, 9091)
        for i in range(c.n):
            k = s.rpc(i); k.request('POST', '/transmission/rpc', '{"method":"session-get"}'); r = k.getresponse(); r.read(); s.sid[i] = r.getheader('X-Transmission-Session-Id'); s.k[i] = k
        s.add(0); s.k[0].getresponse().read()
        for _ in range(100):
            k = s.rpc(0); k.request('POST', '/transmission/rpc', json.dumps({'method': 'torrent-get', 'arguments': {'fields': ['status', 'percentDone']}}), {'X-Transmission-Session-Id': s.sid[0]})
            r = json.loads(k.getresponse().read())['arguments']['torrents']
            if r and r[0]['status'] == 6: break
            time.sleep(0.1)
        time.sleep(0.7)
    def add(s, i):
        s.k[i].request('POST', '/transmission/rpc', json.dumps({'method': 'torrent-add', 'arguments': {'filename': s.c.torrent, 'download-dir': s.c.dir(i)}}), {'X-Transmission-Session-Id': s.sid[i]})
    def go(s):
        for i in range(1, s.c.n): s.add(i)

class Rqbit(BT):
    announce = False
    bin = f'{HERE}/build/root/bin/rqbit'
    def args(s, i):
        peers = ','.join(f'{L.ip_of(j)}:6881' for j in range(s.c.n) if j != i and (j < i))
        a = [s.bin, '-v', 'info', '--disable-dht', '--disable-dht-persistence', '--disable-lsd', '--disable-trackers', '--listen-ip', '0.0.0.0', '--listen-port', '6881', '--http-api-listen-addr', '127.0.0.1:3030', '-t', '2']
        a += s.extra()
        a += ['download', '--overwrite', '-o', s.c.dir(i)]
        if peers: a += ['--initial-peers', peers]
        return a + [s.c.torrent]
    def extra(s): return []
    def wrap(s, i):
        return ['/bin/sh', '-c', f'"$@" 2>&1 | while read -r l; do case "$l" in *"torrent finished downloading"*) echo {i} > $SWL_DONE;; esac; echo "$l"; done', 'sh'] + s.args(i)
    def pre(s): return [L.Proc(0, s.args(0))]
    def ready(s): L.wait_port(s.c, 0, 6881); time.sleep(1.5)
    def recv(s): return [L.Proc(i, s.wrap(i), gated=True, tag='w') for i in range(1, s.c.n)]

# ---- multicast ---------------------------------------------------------------------------
class Uftp(Base):
    def pre(s):
        c = s.c; out = []
        for i in range(1, c.n):
            os.makedirs(f'{c.dir(i)}/tmp')
            hk = f'{c.work}/uftphook.sh'; open(hk, 'w').write('#!/bin/sh\necho $SWL_HOST > $SWL_DONE\n'); os.chmod(hk, 0o755)
            out.append(L.Proc(i, ['uftpd', '-d', '-I', 'eth0', '-D', c.dir(i), '-T', f'{c.dir(i)}/tmp', '-s', hk, '-x', '1', '-B', '4194304']))
        return out
    def ready(s): time.sleep(0.5)
    def recv(s):
        c = s.c; kb = int((c.rate or 4000) * 1000 * float(s.o.get('f', 0.965)))
        a = ['uftp', '-R', str(kb), '-I', 'eth0', '-C', 'none', '-Y', 'none', '-B', '4194304', '-b', s.o.get('b', '1434'), '-r', s.o.get('grtt', '0.05:0.01:0.5'), '-s', s.o.get('s', '20'), '-x', '1', '-H', ','.join(L.ip_of(i) for i in range(1, c.n)), '-D', 'payload', c.src]
        return [L.Proc(0, a, gated=True)]

class Udpcast(Base):
    def recv(s):
        c = s.c; out = []
        for i in range(1, c.n): out.append(L.Proc(i, ['udp-receiver', '--nokbd', '--no-progress', '--interface', 'eth0', '--file', s.out(i), '--rcvbuf', '4194304'] + (['--start-timeout', '30'] ), gated=True, done='exit'))
        a = ['udp-sender', '--nokbd', '--no-progress', '--interface', 'eth0', '--min-receivers', str(c.n - 1), '--full-duplex', '--file', c.src, '--rexmit-hello-interval', '50', '--retries-until-drop', '100']
        if c.rate: a += ['--max-bitrate', f'{int(c.rate*1000*float(s.o.get("f", 0.95)))}k']
        a += s.o.get('x', '').split()
        out.append(L.Proc(0, a, gated=True, tag='s'))
        return out

# ---- reference: our own relay, plain TCP ---------------------------------------------------
class Chain(Base):
    """swl-relay: cut-through relay chain/tree over TCP, 150 lines of C; not a product, a yardstick."""
    def pre(s):
        return [L.Proc(i, [f'{HERE}/swl-relay'] + s.args(i), env={'LOWAT': s.o.get('lowat', '16384')}) for i in range(1, s.c.n)]
    def args(s, i):
        k = int(s.o.get('fan', 1)); kids = [j for j in range((i) * k + 1, i * k + k + 1) if j < s.c.n]
        ch = s.o.get('chunk', '65536')
        return [str(i), s.c.src if i == 0 else s.out(i), str(s.c.size), ch] + [L.ip_of(j) for j in kids]
    def ready(s):
        time.sleep(0.5)
    def recv(s): return [L.Proc(0, [f'{HERE}/swl-relay'] + s.args(0), gated=True)]

DRIVERS = {'curl': Curl, 'rsync': Rsync, 'aria2': Aria2, 'lt': Libtorrent, 'lt-default': LibtorrentDefault, 'transmission': Transmission, 'rqbit': Rqbit,
           'uftp': Uftp, 'udpcast': Udpcast, 'chain': Chain}
