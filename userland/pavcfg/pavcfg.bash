# SPDX-License-Identifier: GPL-2.0
# Completion for bash: pavcfg itself knows what may come next.
_pavcfg() {
	local word words=() i
	for ((i = 1; i < COMP_CWORD; i++)); do words+=("${COMP_WORDS[i]}"); done
	COMPREPLY=()
	while IFS= read -r word; do COMPREPLY+=("$word"); done < <("${COMP_WORDS[0]}" complete "${COMP_WORDS[COMP_CWORD]}" "${words[@]}" 2>/dev/null)
}
complete -o default -F _pavcfg pavcfg
