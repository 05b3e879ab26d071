#!/bin/sh
# The first process of a lab guest. What the guest is to be stands on the
# kernel's command line:
#
#   snapline.role=etcd|bank|datagrams|bench|idle
#   snapline.name=n1                          this member
#   snapline.ip=10.77.0.11/24                 its address on eth0
#   snapline.peers=n1=10.77.0.11,n2=…         all members
#   snapline.token=TEXT                       tells one etcd cluster from another
#   snapline.heartbeat=MS snapline.election=MS  etcd's timeouts

mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
exec </dev/console >/dev/console 2>&1

for word in $(cat /proc/cmdline); do
	case $word in
	snapline.role=*) role=${word#*=} ;;
	snapline.name=*) name=${word#*=} ;;
	snapline.ip=*) ip=${word#*=} ;;
	snapline.peers=*) peers=${word#*=} ;;
	snapline.token=*) token=${word#*=} ;;
	snapline.heartbeat=*) heartbeat=${word#*=} ;;
	snapline.election=*) election=${word#*=} ;;
	esac
done

while read -r module; do
	insmod "/modules/$module.ko" || echo "snapline: no module $module"
done </modules/order

hostname "$name"
ip link set lo up
if [ -n "$ip" ]; then
	# Announce the address, for the switch may know it on another host's port.
	echo 1 >/proc/sys/net/ipv4/conf/all/arp_notify
	ip addr add "$ip" dev eth0
	ip link set eth0 up
fi

# The data of etcd lie on ramfs, not tmpfs: etcd preallocates its log by
# fallocate, 64 MiB at a time, which tmpfs would take from the guest's memory.
# A guest with a disk keeps them there.
if [ -b /dev/vda ]; then
	mount -t ext4 /dev/vda /data || poweroff -f
else
	mount -t ramfs data /data
fi

read -r up _ </proc/uptime
echo "snapline: guest $name is up after $up s, role $role"

case $role in
etcd)
	cluster=
	IFS=,
	for peer in $peers; do
		cluster=${cluster:+$cluster,}${peer%%=*}=http://${peer#*=}:2380
	done
	unset IFS
	me=${ip%/*}
	etcd --name "$name" --data-dir /data/etcd --logger zap --log-level warn \
		--listen-peer-urls "http://$me:2380" --initial-advertise-peer-urls "http://$me:2380" \
		--listen-client-urls "http://$me:2379" --advertise-client-urls "http://$me:2379" \
		--initial-cluster "$cluster" --initial-cluster-state new --initial-cluster-token "${token:-snapline}" \
		--heartbeat-interval "${heartbeat:-500}" --election-timeout "${election:-5000}"
	;;
bank) bank -name "$name" -peers "$peers" ;;
datagrams) bank -name "$name" -peers "$peers" -datagrams ;;
bench) bank -name "$name" -peers "$peers" -idle ;;
idle) while :; do sleep 3600; done ;;
*) echo "snapline: unknown role '$role'" ;;
esac

# Whoever watches the VM sees it end, rather than a guest that does nothing.
echo "snapline: role $role ended with status $?"
poweroff -f
