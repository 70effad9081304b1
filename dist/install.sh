#!/bin/sh
# Installs tiding from this directory: ./install.sh [--prefix /usr/local]. DESTDIR is put before every path.
# Nothing is started: `tiding join LINE --no-run && systemctl enable --now tiding` does that.
set -eu
cd "$(dirname "$0")"
prefix=/usr/local
[ "${1:-}" = --prefix ] && prefix=${2:?"--prefix needs a directory"}
to="${DESTDIR:-}"

install -D -m 755 bin/tiding "$to$prefix/bin/tiding"
for page in man/man1/*.1; do
    install -D -m 644 "$page" "$to$prefix/share/man/man1/$(basename "$page")"
done
install -D -m 644 completions/tiding.bash "$to$prefix/share/bash-completion/completions/tiding"
install -D -m 644 completions/_tiding "$to$prefix/share/zsh/site-functions/_tiding"
install -D -m 644 completions/tiding.fish "$to$prefix/share/fish/vendor_completions.d/tiding.fish"
install -D -m 644 systemd/origin-hardening.conf "$to$prefix/share/doc/tiding/origin-hardening.conf"
install -d -m 755 "$to/etc/systemd/system"
for unit in tiding.service tiding-hands.service; do
    sed "s|^ExecStart=/usr/bin/tiding|ExecStart=$prefix/bin/tiding|" "systemd/$unit" >"$to/etc/systemd/system/$unit"
done
sed "s|^ExecStart=/usr/bin/tiding|ExecStart=$prefix/bin/tiding|" systemd/hands.conf >"$to$prefix/share/doc/tiding/hands.conf"
# A configuration that is there is somebody's.
[ -e "$to/etc/tiding/tiding.toml" ] || install -D -m 644 etc/tiding.toml "$to/etc/tiding/tiding.toml"
if [ -z "$to" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # The root half first, where there are two; the other one waits for it.
    systemctl try-restart tiding-hands.service
    systemctl try-restart tiding.service
fi
echo "installed $prefix/bin/tiding; next: tiding join LINE --no-run && systemctl enable --now tiding"
