# Installs the kernel that is built for. KERNEL is its release, KERNEL_PACKAGE its package.

check() {
	if rpm -q "$KERNEL_PACKAGE" >/dev/null 2>&1; then
		done_because "$KERNEL_PACKAGE is installed"
	fi
	to_do "$KERNEL_PACKAGE is not installed"
}

apply() {
	dnf -y install "$KERNEL_PACKAGE"
}
