"""How each tool spreads a file: what it starts before the clock, and how it tells that a host is done."""
import os
import sys
import time

from swarmlab_api import Proc, ip_of, wait_port

HERE = os.path.dirname(os.path.abspath(__file__))


class Base:
    """A tool. The laboratory calls, in this order: prepare, pre, ready, recv, armed, go at t0, then time and out for each host."""

    def __init__(self, lab):
        self.lab = lab

    def prepare(self):
        """Makes what the tool needs on the disk."""

    def pre(self):
        """Processes that are there first: servers, trackers, whoever has the file."""
        return []

    def ready(self):
        """Returns when those are ready."""

    def recv(self):
        """The receivers' processes; a gated one is there and waits."""
        return []

    def armed(self):
        """Returns when everybody is idle and waits for t0."""

    def go(self):
        """Called at t0, besides opening the gate."""

    def time(self, host, seen):
        """Seconds after t0 at which the host was done, where the tool knows better than `seen`, when it was heard of."""
        return seen

    def out(self, host):
        """Where the host has the file."""
        return f'{self.lab.dir(host)}/payload'

    def finish(self):
        """What the tool says of itself after the last host, as a dict; goes into the record."""
        return {}

    def receivers(self):
        """The numbers of the hosts that receive."""
        return range(1, self.lab.n)


class Chain(Base):
    """The yardstick: a bare relay on every host, each sending to the next. Order and addresses are given; it verifies nothing."""
    PORT = 7000

    def argv(self, host):
        relay = os.environ.get('SWL_RELAY', f'{HERE}/swl-relay')
        path = self.lab.src if host == 0 else self.out(host)
        following = [ip_of(host + 1)] if host + 1 < self.lab.n else []
        return [relay, str(host), path, str(self.lab.size)] + following

    def pre(self):
        return [Proc(host, self.argv(host)) for host in self.receivers()]

    def ready(self):
        for host in self.receivers():
            wait_port(self.lab, host, self.PORT)

    def recv(self):
        return [Proc(0, self.argv(0), gated=True)]


class Libtorrent(Base):
    """libtorrent by its Python binding, with settings for a network of friends; see libtorrent_peer.py."""
    PORT = 6881

    def prepare(self):
        # Imported here: the other tools do without it.
        import libtorrent_peer
        self.torrent = f'{self.lab.work}/payload.torrent'
        libtorrent_peer.make_torrent(self.lab.src, self.torrent)

    def argv(self, host):
        return [sys.executable, f'{HERE}/libtorrent_peer.py', str(host), self.torrent, self.lab.dir(host)]

    def pre(self):
        return [Proc(0, self.argv(0))]

    def ready(self):
        wait_port(self.lab, 0, self.PORT)

    def recv(self):
        return [Proc(host, self.argv(host)) for host in self.receivers()]

    def armed(self):
        for host in self.receivers():
            wait_port(self.lab, host, self.PORT)
        time.sleep(1.0)


class Curl(Base):
    """One web server that everybody downloads from: nginx with sendfile, and curl."""
    CONFIG = '''daemon off; pid {work}/nginx.pid; error_log {work}/nginx.err; worker_processes 1; user root;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nopush on; server {{ listen 80; root {files}; }} }}
'''

    def prepare(self):
        self.config = f'{self.lab.work}/nginx.conf'
        with open(self.config, 'w') as config:
            config.write(self.CONFIG.format(work=self.lab.work, files=self.lab.dir(0)))

    def pre(self):
        return [Proc(0, ['nginx', '-c', self.config])]

    def ready(self):
        wait_port(self.lab, 0, 80)

    def recv(self):
        url = f'http://{ip_of(0)}/payload'
        return [Proc(host, ['curl', '-sf', '-o', self.out(host), url], gated=True, done='exit') for host in self.receivers()]


class Rsync(Base):
    """One rsync daemon that everybody asks for the whole file."""

    def prepare(self):
        self.config = f'{self.lab.work}/rsyncd.conf'
        with open(self.config, 'w') as config:
            config.write(f'use chroot = no\nuid = root\ngid = root\n[files]\npath = {self.lab.dir(0)}\n')

    def pre(self):
        return [Proc(0, ['rsync', '--daemon', '--no-detach', f'--config={self.config}'])]

    def ready(self):
        wait_port(self.lab, 0, 873)

    def recv(self):
        source = f'rsync://{ip_of(0)}/files/payload'
        return [Proc(host, ['rsync', '--whole-file', '--inplace', source, self.out(host)], gated=True, done='exit')
                for host in self.receivers()]


class Uftp(Base):
    """Multicast with negative acknowledgements. It has no congestion control: its rate is set by hand, just below the link's."""
    SHARE_OF_RATE = 0.965
    # Kbit/s where the links have no limit.
    UNLIMITED = 4_000_000

    def prepare(self):
        self.hook = f'{self.lab.work}/received.sh'
        with open(self.hook, 'w') as hook:
            hook.write('#!/bin/sh\necho $SWL_HOST > $SWL_DONE\n')
        os.chmod(self.hook, 0o755)
        for host in self.receivers():
            os.makedirs(f'{self.lab.dir(host)}/unfinished')

    def pre(self):
        return [Proc(host, ['uftpd', '-d', '-I', 'eth0', '-D', self.lab.dir(host), '-T', f'{self.lab.dir(host)}/unfinished',
                            '-s', self.hook, '-x', '1', '-B', '4194304']) for host in self.receivers()]

    def recv(self):
        kbit = int(self.lab.rate * 1000 * self.SHARE_OF_RATE) or self.UNLIMITED
        everyone = ','.join(ip_of(host) for host in self.receivers())
        return [Proc(0, ['uftp', '-R', str(kbit), '-I', 'eth0', '-C', 'none', '-Y', 'none', '-B', '4194304', '-b', '1434',
                         '-r', '0.05:0.01:0.5', '-s', '20', '-x', '1', '-H', everyone, '-D', 'payload', self.lab.src], gated=True)]


DRIVERS = {'chain': Chain, 'libtorrent': Libtorrent, 'curl': Curl, 'rsync': Rsync, 'uftp': Uftp}
