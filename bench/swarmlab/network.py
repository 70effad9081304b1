"""Hosts in network namespaces on one bridge, every link limited both ways.

The bridge has a namespace of its own, so that neither the machine's interfaces nor its packet filter are concerned. A link is a veth
pair with a token bucket at each end: in the host's namespace for what it sends, at the bridge's port for what it receives. There is
no delay, no loss but what a full queue drops, and no rack: one bridge.
"""
import contextlib
import ctypes
import glob
import json
import os
import subprocess

from swarmlab_api import ENV, hostid, ip_of

PREFIX = 'swl-'
BRIDGE = 'br'
MTU_BYTES = 1500
QUEUE_BYTES = 512 << 10
BURST_BYTES = 32 << 10
# The same on every machine, whatever it has by default.
CONGESTION_CONTROL = 'cubic'
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def command(words, lines=''):
    """Runs a command with `lines` as its input; what it wrote, or RuntimeError with what it said."""
    done = subprocess.run(words, input=lines, capture_output=True, text=True, env=ENV)
    if done.returncode:
        raise RuntimeError(f'{" ".join(words)}: {done.stderr.strip()}')
    return done.stdout


def namespace(name):
    """The namespace of a host (`h3`) or of the bridge, as `ip netns` calls it."""
    return PREFIX + name


def remove_all():
    """Removes every namespace of the laboratory, and with it their interfaces; also what a killed run has left."""
    for path in glob.glob(f'/run/netns/{PREFIX}*'):
        subprocess.run(['ip', 'netns', 'del', os.path.basename(path)], capture_output=True)


class Network:
    """`hosts` hosts whose links carry `mbit` Mbit/s each way; 0 leaves them unlimited."""

    def __init__(self, hosts, mbit):
        self.names = [hostid(host) for host in range(hosts)]
        self.mbit = mbit
        self.handles = {}

    def up(self):
        """Makes the namespaces, links and limits. RuntimeError with what `ip` or `tc` said."""
        remove_all()
        _allow(CONGESTION_CONTROL)
        for name in [BRIDGE] + self.names:
            command(['ip', 'netns', 'add', namespace(name)])
            self.handles[name] = os.open(f'/run/netns/{namespace(name)}', os.O_RDONLY | os.O_CLOEXEC)
        self.handles['outside'] = os.open('/proc/self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        self._bridge()
        for host, name in enumerate(self.names):
            self._link(host, name)
        self._neighbours()
        for name in self.names if self.mbit else []:
            self.limit(name, self.mbit)

    def down(self):
        """Removes everything again; may be called at any time."""
        for handle in self.handles.values():
            os.close(handle)
        self.handles = {}
        remove_all()

    def _bridge(self):
        self._ip(BRIDGE, 'link add br0 type bridge stp_state 0 forward_delay 0\nlink set br0 up\n')
        with self.inside(BRIDGE):
            for table in ('iptables', 'ip6tables', 'arptables'):
                _set_if_there(f'/proc/sys/net/bridge/bridge-nf-call-{table}', '0')

    def _link(self, host, name):
        port = f'p-{name}'
        self._ip(name, f'link add eth0 mtu {MTU_BYTES} type veth peer name {port} mtu {MTU_BYTES} netns {namespace(BRIDGE)}\n'
                       f'addr add {ip_of(host)}/16 brd + dev eth0\n'
                       'link set lo up\nlink set eth0 up\nroute add 224.0.0.0/4 dev eth0\n')
        self._ip(BRIDGE, f'link set {port} master br0\nlink set {port} up\n')
        with self.inside(name):
            _set_congestion_control(CONGESTION_CONTROL)

    def _neighbours(self):
        """Everyone knows everyone's link address beforehand: no questions about them within the measured time."""
        macs = {}
        for name in self.names:
            macs[name] = json.loads(command(['ip', '-n', namespace(name), '-j', 'link', 'show', 'eth0']))[0]['address']
        for name in self.names:
            others = [other for other in enumerate(self.names) if other[1] != name]
            self._ip(name, ''.join(f'neigh replace {ip_of(host)} lladdr {macs[other]} dev eth0 nud permanent\n'
                                   for host, other in others))

    def limit(self, name, mbit):
        """Gives the link of a host (`h3`) another rate, both ways."""
        bucket = ['tbf', 'rate', f'{mbit}mbit', 'burst', str(BURST_BYTES), 'limit', str(QUEUE_BYTES)]
        for where, device in ((name, 'eth0'), (BRIDGE, f'p-{name}')):
            command(['tc', '-n', namespace(where), 'qdisc', 'replace', 'dev', device, 'root'] + bucket)

    def sent(self):
        """Bytes that each host has sent until now, by name, counted at the bridge: Ethernet frames as the kernel hands them on.

        A frame that the kernel cuts only later counts its headers once, so TCP shows 1.00 to 1.01 bytes for one of payload where a
        wire would carry 1.046. The limits do count every segment's headers.
        """
        links = json.loads(command(['ip', '-n', namespace(BRIDGE), '-s', '-j', 'link']))
        ports = [link for link in links if link['ifname'].startswith('p-')]
        return {port['ifname'].removeprefix('p-'): port['stats64']['rx']['bytes'] for port in ports}

    def dropped(self):
        """Packets that full queues before receivers have dropped until now."""
        queues = json.loads(command(['tc', '-n', namespace(BRIDGE), '-s', '-j', 'qdisc', 'show']))
        return sum(queue.get('drops', 0) for queue in queues if queue.get('kind') == 'tbf')

    @contextlib.contextmanager
    def inside(self, name):
        """Within it, sockets and processes that the calling thread makes are on that host (`h3`)."""
        _enter(self.handles[name])
        try:
            yield
        finally:
            _enter(self.handles['outside'])

    def _ip(self, name, lines):
        command(['ip', '-n', namespace(name), '-b', '-'], lines)


def _enter(handle):
    if libc.setns(handle, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), 'cannot enter a network namespace')


def _allow(congestion_control):
    """Lets namespaces choose it: some machines offer one there that they do not allow."""
    path = '/proc/sys/net/ipv4/tcp_allowed_congestion_control'
    with open(path, encoding='ascii') as setting:
        allowed = setting.read().split()
    if congestion_control not in allowed:
        _set_if_there(path, ' '.join(allowed + [congestion_control]))


def _set_congestion_control(wanted):
    """RuntimeError where it cannot be had: figures of another one would not compare."""
    path = '/proc/sys/net/ipv4/tcp_congestion_control'
    _set_if_there(path, wanted)
    with open(path, encoding='ascii') as setting:
        used = setting.read().strip()
    if used != wanted:
        raise RuntimeError(f'this kernel does not let a namespace use {wanted}, only {used}')


def _set_if_there(path, value):
    try:
        with open(path, 'w') as setting:
            setting.write(value)
    except OSError:
        pass
