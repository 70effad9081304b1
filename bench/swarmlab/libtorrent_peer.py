"""A libtorrent peer of the laboratory: `libtorrent_peer.py HOST TORRENT DIR`.

Host 0 has the file and seeds it. The others wait at the gate, add the torrent at t0, connect to every host before them, and write
their number into $SWL_DONE when they have all. No tracker, no discovery, no uTP, no encryption: everyone is given everyone.
"""
import os
import sys

import libtorrent as lt

from swarmlab_api import ip_of

PORT = 6881

# The best that was found for one burst among friends: slots are given by the second instead of by the half minute, nothing is kept
# for strangers, requests are many, and whoever is silent for five seconds is asked no more.
SETTINGS = {
    'listen_interfaces': f'0.0.0.0:{PORT}',
    'alert_mask': lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
    'enable_dht': False,
    'enable_lsd': False,
    'enable_natpmp': False,
    'enable_upnp': False,
    'enable_incoming_utp': False,
    'enable_outgoing_utp': False,
    'in_enc_policy': 2,
    'out_enc_policy': 2,
    'connections_limit': 1000,
    'connection_speed': 500,
    'torrent_connect_boost': 250,
    'peer_connect_timeout': 2,
    'min_reconnect_time': 1,
    'max_failcount': 20,
    'peer_turnover': 0,
    'close_redundant_connections': False,
    'unchoke_slots_limit': 8,
    'unchoke_interval': 1,
    'num_optimistic_unchoke_slots': 0,
    'optimistic_unchoke_interval': 2,
    'max_out_request_queue': 3000,
    'max_allowed_in_request_queue': 5000,
    'request_queue_time': 1,
    'request_timeout': 5,
    'piece_timeout': 5,
    'whole_pieces_threshold': 2,
    'initial_picker_threshold': 0,
    'strict_end_game_mode': True,
    'send_buffer_watermark': 512 << 10,
    'send_buffer_low_watermark': 64 << 10,
    'send_buffer_watermark_factor': 150,
    'tick_interval': 100,
    'aio_threads': 1,
    'hashing_threads': 1,
    'no_recheck_incomplete_resume': True,
}


def piece_bytes(size):
    """The length of pieces with which a file of that length was fastest, of those tried."""
    if size < 4 << 20:
        return 16 << 10
    return 64 << 10 if size <= 64 << 20 else 256 << 10


def make_torrent(path, torrent):
    """Writes a torrent of one file, with no tracker in it."""
    files = lt.file_storage()
    lt.add_files(files, path)
    made = lt.create_torrent(files, piece_bytes(os.path.getsize(path)), lt.create_torrent.v1_only)
    lt.set_piece_hashes(made, os.path.dirname(path))
    with open(torrent, 'wb') as file:
        file.write(lt.bencode(made.generate()))


def add(session, torrent, directory, is_seed):
    """Adds the torrent; a seed believes its own file."""
    wanted = lt.add_torrent_params()
    wanted.ti = lt.torrent_info(torrent)
    wanted.save_path = directory
    wanted.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    if is_seed:
        wanted.flags |= lt.torrent_flags.seed_mode
    return session.add_torrent(wanted)


def wait_at_gate():
    """Returns at t0."""
    os.read(os.open(os.environ['SWL_GATE'], os.O_RDONLY), 1)


def serve(session, host):
    """Goes on for ever; says when this host has all."""
    done = os.open(os.environ['SWL_DONE'], os.O_WRONLY)
    while True:
        session.wait_for_alert(10_000)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert) and host:
                os.write(done, b'%d\n' % host)
            elif 'error' in type(alert).__name__:
                print(alert, flush=True)


def main():
    host, torrent, directory = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    session = lt.session(SETTINGS)
    if host:
        wait_at_gate()
    added = add(session, torrent, directory, is_seed=host == 0)
    for other in range(host):
        added.connect_peer((ip_of(other), PORT))
    serve(session, host)


if __name__ == '__main__':
    main()
