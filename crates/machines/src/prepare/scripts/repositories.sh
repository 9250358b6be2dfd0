# Makes the train's repositories, at their snapshots, the only ones that dnf knows. REPO_FILE has their definitions,
# KEYS the keys, and DIGEST stands for both.

repos=$ROOT/etc/yum.repos.d
ours=$repos/drivetrain.repo
keys=$ROOT/etc/pki/rpm-gpg/RPM-GPG-KEY-drivetrain

others() {
	for file in "$repos"/*.repo; do
		[ ! -e "$file" ] || [ "$file" = "$ours" ] || echo "$file"
	done
}

check() {
	[ -e "$ours" ] || to_do "dnf does not know the train"
	[ "$(cat "$ours")" = "$REPO_FILE" ] || to_do "$ours is of another train or date"
	[ -z "$KEYS" ] || [ "$(cat "$keys" 2>/dev/null)" = "$KEYS" ] || to_do "the keys of the train are not there"
	[ -z "$(others)" ] || to_do "dnf knows others beside the train: $(others | tr '\n' ' ')"
	done_because "dnf knows the train's repositories and no others"
}

apply() {
	mkdir -p "$repos" "$(dirname "$keys")"
	others | while read -r file; do
		mv "$file" "$file.not-for-drivetrain"
	done
	printf '%s\n' "$KEYS" >"$keys.new"
	mv "$keys.new" "$keys"
	printf '%s\n' "$REPO_FILE" >"$ours.new"
	mv "$ours.new" "$ours"
	if [ -z "$ROOT" ]; then
		dnf -q clean metadata
	fi
}
