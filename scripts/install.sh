#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# install.sh BUILD: copies what was built to DESTDIR and PREFIX (/usr/local). The module goes to the running kernel's folder, if
# it was built for that one; KVER=… names another. Nothing in /etc is overwritten.
set -euo pipefail
build=$1 root=${DESTDIR:-} prefix=${PREFIX:-/usr/local} kver=${KVER:-$(uname -r)}

put() { # put MODE SOURCE DESTINATION
	install -D -m "$1" "$2" "$root$3"
	echo "  $root$3"
}

put 755 "$build/cmake/userland/pavcfg" "$prefix/sbin/pavcfg"
put 755 "$build/cmake/configfs_tools/pav-nvmet" "$prefix/sbin/pav-nvmet"
put 644 userland/pavcfg/pavcfg.8 "$prefix/share/man/man8/pavcfg.8"
put 644 configfs_tools/pav-nvmet.8 "$prefix/share/man/man8/pav-nvmet.8"
put 644 userland/pavcfg/pavcfg.bash "$prefix/share/bash-completion/completions/pavcfg"
put 644 userland/pavcfg/pavcfg.conf.example "$prefix/share/doc/pavraid/pavcfg.conf.example"
put 644 userland/udev/60-pav.rules "$prefix/lib/udev/rules.d/60-pav.rules"
for unit in pav-restore.service pav-scrub.service pav-scrub.timer; do
	put 644 "userland/systemd/$unit" "$prefix/lib/systemd/system/$unit"
done
sed -i "s|/usr/sbin/pavcfg|$prefix/sbin/pavcfg|" "$root$prefix"/lib/systemd/system/pav-{restore,scrub}.service "$root$prefix/lib/udev/rules.d/60-pav.rules"

built_for=$(modinfo -F vermagic "$build/kmod/pavraid.ko" | cut -d' ' -f1)
if [ "$built_for" = "$kver" ]; then
	put 644 "$build/kmod/pavraid.ko" "/lib/modules/$kver/updates/pavraid.ko"
	[ -n "$root" ] || depmod "$kver"
else
	echo "  the module is NOT installed: it was built for kernel $built_for, this one is $kver." \
		"Remedy: apt-get install linux-headers-$kver, make clean, make install; or KVER=$built_for"
fi
[ -n "$root" ] || [ -e /etc/pav/pavcfg.conf ] ||
	echo "  next: install -D -m 644 $prefix/share/doc/pavraid/pavcfg.conf.example /etc/pav/pavcfg.conf, and put in the ports of this host"
