# Boots systemd on this machine's own files, and clears all of it away when its
# standard input ends. $1 is the name of the cgroup, $2 the container's network
# namespace; that and those after it are deleted too. It runs in a mount namespace
# of its own: mounts end with it.
exec 8<"/proc/$PPID/ns/mnt" 9<"/run/netns/$2"
name=$1
shift
# As Debian has it since 11, on machines too that have version 1.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cgroup=/sys/fs/cgroup/$name
mount -t tmpfs -o mode=755 tmpfs /run
root=/run/root
mkdir "$root" /run/upper /run/work "$cgroup"
end() {
	echo 1 >"$cgroup/cgroup.kill"
	until grep -q "populated 0" "$cgroup/cgroup.events"; do sleep 0.05; done
	find "$cgroup" -depth -type d -exec rmdir {} +
	for network; do nsenter --mount=/proc/$$/fd/8 ip netns delete "$network"; done
}
trap 'end "$@"' EXIT
# Over another overlay, which is what a container runtime's files are, it is the
# second of two that the kernel allows.
mount -t overlay overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/work "$root" || {
	echo "no overlay"
	exit 77
}
# Of this machine: programs and libraries, but not what it is and does.
rm -rf "$root"/usr/sbin/policy-rc.d "$root"/etc/systemd/system/*.wants "$root"/etc/systemd/system/*.requires "$root"/etc/rc?.d \
	"$root"/etc/default/snapline-* "$root"/etc/snapline "$root"/var/lib/snapline "$root"/root/.config/snapline
: >"$root/etc/fstab"
echo h1 >"$root/etc/hostname"
# With none it would be a first boot, which enables what is installed.
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
# A host's agent may do what root may; the units take away what is not needed, by
# filters of their own. What would change this machine is taken away here.
boot() {
	SYSTEMD_SECCOMP=0 systemd-nspawn --quiet --directory="$root" --boot --machine=h1 --console=pipe \
		--network-namespace-path=/proc/$$/fd/9 --register=no --keep-unit \
		--capability=all --drop-capability=CAP_SYS_MODULE,CAP_SYS_TIME,CAP_SYSLOG \
		--resolv-conf=off --timezone=off --link-journal=no </dev/null
}
# 133 is a reboot.
(
	echo 0 >"$cgroup/cgroup.procs"
	while status=0 && { boot || status=$?; } && [ $status = 133 ]; do :; done
	echo "the container has ended: $status"
) &
cat >/dev/null
