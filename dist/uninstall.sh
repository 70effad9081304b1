#!/bin/sh
# Stops the node of this machine and removes what install.sh put there: ./uninstall.sh [--prefix /usr/local]. DESTDIR as there.
set -eu
prefix=/usr/local
[ "${1:-}" = --prefix ] && prefix=${2:?"--prefix needs a directory"}
from="${DESTDIR:-}"

if [ -z "$from" ] && [ -d /run/systemd/system ]; then
    systemctl disable --now tiding.service || true
    systemctl disable --now tiding-hands.service || true
fi
rm -f "$from$prefix/bin/tiding" "$from$prefix"/share/man/man1/tiding.1 "$from$prefix"/share/man/man1/tiding-*.1
rm -f "$from$prefix/share/bash-completion/completions/tiding" "$from$prefix/share/zsh/site-functions/_tiding"
rm -f "$from$prefix/share/fish/vendor_completions.d/tiding.fish" "$from/etc/systemd/system/tiding.service"
rm -f "$from/etc/systemd/system/tiding-hands.service"
rm -rf "$from$prefix/share/doc/tiding"
if [ -z "$from" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
cat <<SAID
tiding is not installed any more. What stays:
  $from/etc/tiding        the configuration
  $from/var/lib/tiding    identity, store, versions of this program; on an origin the fleet's CA and journals: back them up first
  $from/var/lib/tiding-hands    what the root half remembers, where the node is two halves
  live paths (symlinks as /srv/app), and beside each the releases and what outlives them (/srv/.app.tiding):
    to find them:  find / -xdev -path '*/.*.tiding/owner'
    to remove one: rm /srv/app; rm -r /srv/.app.tiding     (this removes its kept files, too)
SAID
