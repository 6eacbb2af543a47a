# Puts the results together. Sourced by build.sh.

TREE_FORMAT=1

tree_key() {
	{
		echo "$TREE_FORMAT $OUT"
		for name in openssh rsync busybox siblings; do echo "${KEY[$name]}"; done
		cd "$HERE" && sha256sum sources.txt scripts/tree.sh && find etc -type f | sort | xargs sha256sum
		cd "$HERE/.." && sed -n 's/^  "version": //p' package.json 2>/dev/null
	} | sha256sum | cut -c1-64
}

# Nothing to do? The tree carries the key of what it was made of, and every file is of the size it had.
tree_is_current() {
	[ -f "$OUT/manifest.json" ] && [ -f "$WORK/tree" ] &&
	    [ "$(cat "$WORK/tree")" = "$(tree_key) $(tree_listing "$OUT")" ]
}

tree_listing() {
	(cd "$1" && { find . ! -type d -printf '%p %m %s %l\n'; find . -type d -printf '%p %m\n'; } | sort | sha256sum | cut -c1-64)
}

assemble_tree() {
	local new=$OUT.new name
	rm -rf "$new"
	mkdir -p "$new"/{bin,sbin,libexec,tools,etc/profile.d,etc/licences}
	for name in busybox rsync openssh siblings; do
		(cd "$(result "$name")" && find . -mindepth 2 \( -type f -o -type l \) -print0 |
		    tar -c --null -T - --owner=0 --group=0) | tar -x -C "$new" --no-same-owner
	done
	cp "$HERE/etc/sshd_config" "$HERE/etc/ssh_config" "$new/etc/"
	cp "$HERE/etc/profile.d/zz-gangway.sh" "$new/etc/profile.d/"
	find "$new" -type d -exec chmod 755 {} +
	find "$new" -type f -exec chmod go-w,a+r {} +
	for name in init session watchdog connector inject; do
		[ -x "$new/libexec/$name" ] || say "note: libexec/$name is not there yet (no src/$name.c)"
	done
	manifest "$new" >"$new/manifest.json.tmp"
	mv "$new/manifest.json.tmp" "$new/manifest.json"

	rm -rf "$OUT.old"
	[ ! -e "$OUT" ] || mv -T "$OUT" "$OUT.old"
	mv -T "$new" "$OUT"
	rm -rf "$OUT.old"
	printf '%s %s\n' "$(tree_key)" "$(tree_listing "$OUT")" >"$WORK/tree.new"
	mv "$WORK/tree.new" "$WORK/tree"
}

manifest() (
	cd "$1" || exit
	first=1
	version=$(sed -n 's/^  "version": "\(.*\)",*$/\1/p' "$HERE/../package.json" 2>/dev/null | head -n 1)
	printf '{\n  "format": %s,\n  "version": "%s",\n  "arch": "%s",\n  "components": [' \
	    $TREE_FORMAT "${version:-0.0.0}" "$ARCH"
	grep -v '^#' "$HERE/sources.txt" | while read -r name version file sum licence _ home; do
		[ $first = 1 ] || printf ','
		first=0
		printf '\n    { "name": "%s", "version": "%s", "licence": "%s", "source": "%s", "file": "%s", "sha256": "%s" }' \
		    "$name" "$version" "$licence" "$home" "$file" "$sum"
	done
	printf '\n  ],\n  "files": {'
	first=1
	find . -type f ! -name 'manifest.json*' -printf '%P %m\n' | sort | while read -r path mode; do
		[ $first = 1 ] || printf ','
		first=0
		printf '\n    "%s": { "sha256": "%s", "mode": "%04o" }' "$path" "$(sha "$path")" "0$mode"
	done
	printf '\n  },\n  "links": {'
	first=1
	find . -type l -printf '%P %l\n' | sort | while read -r path target; do
		[ $first = 1 ] || printf ','
		first=0
		printf '\n    "%s": "%s"' "$path" "$target"
	done
	printf '\n  }\n}\n'
)

# Results of earlier recipes, and what an interrupted build left.
remove_old_work() {
	local dir name
	for dir in "$WORK"/*-????????????????????????; do
		[ -d "$dir" ] || continue
		name=$(basename "$dir")
		name=${name%-*}
		[ "$dir" = "$WORK/$name-${KEY[$name]-}" ] || rm -rf "$dir"
	done
	rm -rf "$WORK"/tmp-*
}
