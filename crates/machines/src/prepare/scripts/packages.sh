# Installs what builds take. PACKAGES are names or what packages provide, one a line.

missing() {
	printf '%s\n' "$PACKAGES" | while read -r package; do
		[ -z "$package" ] || rpm -q --whatprovides "$package" >/dev/null 2>&1 || printf '%s\n' "$package"
	done
}

check() {
	[ -z "$(missing)" ] || to_do "not installed: $(missing | tr '\n' ' ')"
	done_because "all $(printf '%s\n' "$PACKAGES" | grep -c .) are installed"
}

apply() {
	missing | tr '\n' '\0' | xargs -0 dnf -y --setopt=install_weak_deps=False install
}
