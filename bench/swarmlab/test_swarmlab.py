"""Tests of what the laboratory decides without a network: `python3 -m unittest discover bench/swarmlab`. They need no root."""
import argparse
import os
import tempfile
import unittest

import broadcast
import swarmlab
import swarmlab_api
import tiding
from broadcast import Cell
from groups import Groups


def cell(**mishap):
    return Cell(hosts=4, mbit=20, size=4 << 20, limit=30, **mishap)


class Addresses(unittest.TestCase):
    def test_every_host_has_an_address_of_its_own(self):
        addresses = {swarmlab_api.ip_of(host) for host in range(1000)}
        self.assertEqual(len(addresses), 1000)
        self.assertEqual(swarmlab_api.ip_of(255), '10.77.1.0')


class Verdicts(unittest.TestCase):
    def test_the_last_of_all_counts(self):
        said = broadcast.verdict(cell(), {1: 2.0, 2: 3.0, 3: 1.0})
        self.assertEqual((said['outcome'], said['first_s'], said['median_s'], said['last_s']), ('done', 1.0, 2.0, 3.0))
        self.assertAlmostEqual(said['unicast_s'], 1.678, places=3)

    def test_somebody_without_the_file_means_that_it_never_ended(self):
        said = broadcast.verdict(cell(), {1: 2.0})
        self.assertEqual(said['outcome'], 'never ended')
        self.assertNotIn('last_s', said)
        self.assertIn('2 of 3', said['why'])

    def test_a_slow_host_is_reported_and_is_not_the_last(self):
        said = broadcast.verdict(cell(slow=(3, 4)), {1: 2.0, 2: 3.0, 3: 9.0})
        self.assertEqual((said['last_s'], said['slow_host_s']), (3.0, 9.0))
        self.assertEqual(broadcast.verdict(cell(slow=(3, 4)), {1: 2.0, 2: 3.0})['outcome'], 'done')

    def test_a_killed_host_is_not_waited_for(self):
        self.assertEqual(cell(kill=(3, 0.5)).receivers(), [1, 2])
        self.assertEqual(broadcast.verdict(cell(kill=(3, 0.5)), {1: 2.0, 2: 3.0})['last_s'], 3.0)

    def test_without_a_rate_there_is_no_unicast(self):
        self.assertIsNone(Cell(hosts=4, mbit=0, size=1, limit=1).unicast_seconds())


class Files(unittest.TestCase):
    def test_a_file_with_a_wrong_byte_is_not_what_was_published(self):
        with tempfile.TemporaryDirectory() as directory:
            path = f'{directory}/payload'
            broadcast.write_payload(path, 3_000_000)
            wanted = broadcast.digest(path)
            self.assertTrue(broadcast.is_file_like(path, 3_000_000, wanted))
            with open(path, 'r+b') as file:
                flipped = file.read(1)[0] ^ 1
                file.seek(0)
                file.write(bytes([flipped]))
            self.assertFalse(broadcast.is_file_like(path, 3_000_000, wanted))
            self.assertFalse(broadcast.is_file_like(f'{directory}/nothing', 3_000_000, wanted))

    def test_the_same_bytes_are_published_each_time(self):
        with tempfile.TemporaryDirectory() as directory:
            for name in 'ab':
                broadcast.write_payload(f'{directory}/{name}', 100_000)
            self.assertEqual(broadcast.digest(f'{directory}/a'), broadcast.digest(f'{directory}/b'))


class ControlGroups(unittest.TestCase):
    def test_both_kinds_are_known(self):
        for is_split, doors in ((False, 1), (True, 2)):
            with self.subTest(is_split=is_split), tempfile.TemporaryDirectory() as root:
                for part in ('cpu', 'cpuacct') if is_split else ():
                    os.mkdir(f'{root}/{part}')
                groups = Groups(['h0', 'h1'], root)
                os.makedirs(groups.account)
                os.makedirs(groups.share, exist_ok=True)
                self.assertEqual((groups.is_split, len(groups.doors('h1'))), (is_split, doors))

    def test_processor_time_is_in_seconds(self):
        with tempfile.TemporaryDirectory() as root:
            groups = Groups(['h0'], root)
            os.makedirs(f'{groups.account}/h0')
            with open(f'{groups.account}/h0/cpu.stat', 'w') as stat:
                stat.write('usage_usec 2500000\nuser_usec 1\n')
            self.assertEqual(groups.cpu_seconds(), {'h0': 2.5})

    def test_what_a_hypervisor_took_is_told_and_not_counted(self):
        before, after = (1000, 5000, 10), (1800, 6000, 210)
        self.assertEqual(broadcast.busy_between(before, after), 0.8)
        self.assertEqual(broadcast.stolen_between(before, after), 0.2)
        self.assertEqual(broadcast.got(before, after), 0.75)


class CommandLine(unittest.TestCase):
    def test_sizes_and_hosts_are_read(self):
        self.assertEqual(swarmlab.size_in_bytes('32M'), 32 << 20)
        self.assertEqual(swarmlab.host_and_number('3:10'), (3, 10.0))
        for read, wrong in ((swarmlab.size_in_bytes, '32 MB'), (swarmlab.host_and_number, 'three')):
            self.assertRaises(argparse.ArgumentTypeError, read, wrong)

    def test_a_record_names_no_path(self):
        self.assertEqual(swarmlab.without_paths("No file '/srv/a-b/c.d/payload': 1/2"), "No file 'payload': 1/2")

    def test_a_run_is_told_in_a_sentence(self):
        run = {'tool': 'chain', 'hosts': 4, 'mbit': 20, 'bytes': 4 << 20, 'outcome': 'never ended', 'why': '1 of 3'}
        self.assertEqual(swarmlab.sentence(run), 'chain, 4 hosts, 20 Mbit/s, 4 MiB: never ended: 1 of 3')


class Logs(unittest.TestCase):
    def test_an_agent_is_complete_by_its_own_line(self):
        line = (b'2026-01-02T03:04:05.678901Z  INFO tiding_node: event=Phase '
                b'{ app: AppName("payload"), release: 1, phase: Complete }')
        self.assertEqual(tiding.COMPLETE.match(line)[1], b'2026-01-02T03:04:05.678901')
        self.assertIsNone(tiding.COMPLETE.match(line.replace(b'Complete', b'Live')))


if __name__ == '__main__':
    unittest.main()
