#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# mirror.sh FOLDER… DEST: makes DEST/FOLDER hold the sources of FOLDER. Copies what is newer, deletes sources that are gone, and
# leaves alone what was built there.
set -euo pipefail
dest=${*: -1}
for folder in "${@:1:$#-1}"; do
  while read -r f; do
    mkdir -p "$dest/$(dirname "$f")"
    cmp -s "$f" "$dest/$f" || cp -p "$f" "$dest/$f"
  done < <(find "$folder" -type f \( -name '*.[ch]' -o -name 'Kbuild*' \))
  [ -d "$dest/$folder" ] || continue
  while read -r f; do
    [ -e "$f" ] || rm -f "$dest/$f"
  done < <(cd "$dest" && find "$folder" -type f \( -name '*.[ch]' -o -name 'Kbuild*' \) ! -name '*.mod.c')
done
